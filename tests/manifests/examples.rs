//! The examples are accepted by the plain manifest's config, and give their pods what they say.

use std::fs;

use serde_json::{Value, json};

use super::rendered::{Manifests, command, documents, knows_every_field, podkey, root, yaml_files};

const PREFIX: &str = "podkey.dev/";

#[test]
fn every_example_parses_and_has_only_fields_that_kubernetes_knows() {
    for file in yaml_files("manifests/examples") {
        assert!(!documents(&file).is_empty());
    }
    for file in ["runner-deployment.yaml", "refreshed-deployment.yaml"] {
        let deployment = documents(&root().join("manifests/examples").join(file));
        deployment.iter().for_each(knows_every_field);
    }
}

/// The injected pod, as `podkey inject` prints it.
fn inject(document: &Value, namespace: &str) -> Value {
    let config = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(config.path(), Manifests::plain().config()).unwrap();
    let config = config.path().to_str().unwrap();
    // JSON is YAML too.
    let args = [
        "inject",
        "--config",
        config,
        "--namespace",
        namespace,
        "-f",
        "/dev/stdin",
        "-o",
        "json",
    ];
    let output = podkey(&args, &document.to_string());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}; {errors}"))
}

fn plan(pod: &Value) -> Value {
    let init = &pod["spec"]["initContainers"][0];
    assert_eq!(init["name"], "podkey-init");
    let env = init["env"].as_array().unwrap();
    let plan = env
        .iter()
        .find(|variable| variable["name"] == podkey::plan::PLAN_ENV)
        .unwrap();
    serde_json::from_str(plan["value"].as_str().unwrap()).unwrap()
}

fn env_of<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    let env = pod["spec"]["containers"][0]["env"].as_array()?;
    env.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}

#[test]
fn the_scale_set_example_gives_runners_their_kubeconfig() {
    let values = documents(&root().join("manifests/examples/arc-scale-set-values.yaml")).remove(0);
    // What the chart makes of the values: its own runner container, and its own service account.
    let mut template = values["template"].clone();
    template["spec"] = json!({
        "serviceAccountName": "arc-runner-set-gha-rs-no-permission",
        "restartPolicy": "Never",
        "containers": [{"name": "runner", "image": "ghcr.io/actions/actions-runner:latest", "command": ["/home/runner/run.sh"]}],
    });
    let set = json!({
        "apiVersion": "actions.github.com/v1alpha1",
        "kind": "AutoscalingRunnerSet",
        "metadata": {"name": "arc-runner-set", "namespace": "arc-runners"},
        "spec": {"githubConfigUrl": values["githubConfigUrl"], "template": template},
    });
    let pod = &inject(&set, "arc-runners");
    let plan = plan(pod).to_string();
    for part in [
        "my-cluster/arc-runners",
        "actions",
        "arc-runners/data/kubeconfig/rancher-cluster",
        "base64",
    ] {
        assert!(plan.contains(part), "no {part} in {plan}");
    }
    assert_eq!(env_of(pod, "KUBECONFIG"), Some("/tmp/kubeconfig"));
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    assert!(
        mounts.iter().any(|mount| mount["mountPath"] == "/tmp/kubeconfig"),
        "{mounts:?}"
    );
}

#[test]
fn the_kubernetes_mode_example_gives_jobs_their_kubeconfig() {
    let values = documents(&root().join("manifests/examples/arc-kubernetes-mode-values.yaml")).remove(0);
    let documents = documents(&root().join("manifests/examples/arc-kubernetes-mode.yaml"));
    documents.iter().for_each(knows_every_field);
    let found = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap();
    let template = found("ConfigMap");

    // The runner finds the template where its variable says.
    let spec = &values["template"]["spec"];
    let (runner, volume) = (&spec["containers"][0], &spec["volumes"][0]);
    let mount = &runner["volumeMounts"][0];
    assert_eq!(volume["configMap"]["name"], template["metadata"]["name"]);
    assert_eq!(volume["name"], mount["name"]);
    let variable = &runner["env"][0];
    assert_eq!(variable["name"], "ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE");
    let file = variable["value"]
        .as_str()
        .unwrap()
        .strip_prefix(mount["mountPath"].as_str().unwrap());
    let content = template["data"][file.unwrap().trim_start_matches('/')]
        .as_str()
        .unwrap();

    // What the runner's container hooks make of the template: `$job` is the container of the steps.
    // https://github.com/actions/runner-container-hooks/blob/main/packages/k8s/src/k8s/utils.ts
    let content: Value = serde_saphyr::from_str(content).unwrap();
    assert_eq!(content["spec"]["containers"], json!([{"name": "$job"}]));
    assert_eq!(
        content["spec"]["serviceAccountName"],
        found("ServiceAccount")["metadata"]["name"]
    );
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "runner-workflow", "namespace": "arc-runners", "labels": {"runner-pod": "runner"}},
        "spec": {"restartPolicy": "Never"},
    });
    json_patch::merge(&mut pod, &content);
    pod["spec"]["containers"] = json!([
        {"name": "job", "image": "ubuntu:24.04", "command": ["tail"], "args": ["-f", "/dev/null"]},
        {"name": "postgres", "image": "postgres:16"},
    ]);
    let pod = &inject(&pod, "arc-runners");
    assert!(
        plan(pod)
            .to_string()
            .contains("arc-runners/data/kubeconfig/rancher-cluster")
    );
    assert_eq!(env_of(pod, "KUBECONFIG"), Some("/tmp/kubeconfig"));
    let mounts = |index: usize| pod["spec"]["containers"][index]["volumeMounts"].to_string();
    assert!(
        mounts(0).contains("/tmp/kubeconfig") && !mounts(1).contains("podkey"),
        "{pod:#}"
    );
}

#[test]
fn the_runner_deployment_example_gives_the_entrypoint_its_token() {
    let documents = documents(&root().join("manifests/examples/runner-deployment.yaml"));
    let deployment = documents
        .iter()
        .find(|document| document["kind"] == "Deployment")
        .unwrap();
    let pod = &inject(deployment, "github-runners");
    assert!(plan(pod).to_string().contains("github/data/runner"));
    let path = format!("{}/github-pat", podkey::plan::SECRETS_DIR);
    assert_eq!(
        env_of(pod, "GITHUB_PAT_FILE"),
        Some(path.as_str()),
        "which the container's command reads"
    );
}

#[test]
fn the_refreshed_deployment_example_has_a_sidecar() {
    let documents = documents(&root().join("manifests/examples/refreshed-deployment.yaml"));
    let deployment = documents
        .iter()
        .find(|document| document["kind"] == "Deployment")
        .unwrap();
    let pod = &inject(deployment, "app");
    let plan = plan(pod);
    assert_eq!(plan["refresh"]["interval"], "30s");
    assert!(plan.to_string().contains("demo-auth-mount"), "{plan}");
    assert_eq!(pod["spec"]["initContainers"][1]["name"], "podkey-sidecar");
    let path = format!("{}/password", podkey::plan::SECRETS_DIR);
    assert_eq!(env_of(pod, "PASSWORD_FILE"), Some(path.as_str()));
}

#[test]
fn annotations_in_the_examples_are_of_our_prefix_and_need_no_secret() {
    let values = fs::read_to_string(root().join("manifests/examples/arc-scale-set-values.yaml")).unwrap();
    let deployment = fs::read_to_string(root().join("manifests/examples/runner-deployment.yaml")).unwrap();
    for text in [values, deployment] {
        assert!(text.contains(&format!("{PREFIX}files: |")));
        assert!(!text.contains("secretKeyRef") && !text.contains("kind: Secret"));
    }
}

/// The folder with podkey.yaml copied into it, as its first lines say.
fn overlay(config: &str) -> Manifests {
    let folder = tempfile::tempdir().unwrap();
    let from = root().join("manifests/examples/overlay");
    fs::copy(root().join("manifests/podkey.yaml"), folder.path().join("podkey.yaml")).unwrap();
    fs::copy(
        from.join("kustomization.yaml"),
        folder.path().join("kustomization.yaml"),
    )
    .unwrap();
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    let output = command("kubectl").arg("kustomize").arg(folder.path()).output();
    let output = output.expect("kubectl is missing: run `.ci/tools helm kubectl`, as `make test` does");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Manifests(serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout).unwrap()).unwrap())
}

#[test]
fn the_overlay_installs_another_image_and_config_and_a_changed_config_makes_new_pods() {
    let config = fs::read_to_string(root().join("manifests/examples/overlay/config.yaml")).unwrap();
    let manifests = overlay(&config);
    manifests.0.iter().for_each(knows_every_field);
    assert_eq!(manifests.0.len(), Manifests::plain().0.len());

    let map = manifests.one("ConfigMap");
    assert_eq!(map["data"]["config.yaml"], config);
    podkey::inject::Config::parse(&config, |_| Err("is not there".to_owned())).unwrap();
    let parsed: Value = serde_saphyr::from_str(&config).unwrap();
    assert_eq!(
        parsed["agent"]["image"],
        manifests.container()["image"],
        "one image holds both programs"
    );
    assert_ne!(manifests.container()["image"], Manifests::plain().container()["image"]);

    let mounted = |manifests: &Manifests| manifests.pod()["volumes"][0]["projected"]["sources"][0]["configMap"].clone();
    assert_eq!(mounted(&manifests), json!({"name": map["metadata"]["name"]}));
    assert_ne!(mounted(&manifests), mounted(&overlay(&format!("{config}# changed"))));
}
