//! What is installed agrees with the programs: the manifests, the ways to a certificate, and the examples.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const PREFIX: &str = "podkey.dev/";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

/// What `kubectl apply -k manifests/` applies.
fn installed() -> Vec<Value> {
    let kustomization = &documents(&root().join("manifests/kustomization.yaml"))[0];
    let resources = kustomization["resources"].as_array().unwrap();
    resources
        .iter()
        .flat_map(|file| documents(&root().join("manifests").join(file.as_str().unwrap())))
        .collect()
}

fn one(kind: &str) -> Value {
    let mut found: Vec<_> = installed()
        .into_iter()
        .filter(|document| document["kind"] == kind)
        .collect();
    assert_eq!(found.len(), 1, "{kind}");
    found.remove(0)
}

fn container() -> Value {
    let deployment = one("Deployment");
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    containers[0].clone()
}

fn operator_config() -> String {
    one("ConfigMap")["data"]["config.yaml"].as_str().unwrap().to_owned()
}

fn argument(flag: &str) -> String {
    let container = container();
    let args: Vec<_> = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arg| arg.as_str().unwrap())
        .collect();
    let position = args
        .iter()
        .position(|arg| *arg == flag)
        .unwrap_or_else(|| panic!("no {flag} in {args:?}"));
    args[position + 1].to_owned()
}

fn podkey(args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_podkey"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input closes the pipe: that is seen in what it prints.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// The document survives a round trip through the type, so the API server knows every field of it.
fn round_trips<T: Serialize + DeserializeOwned>(document: &Value) {
    let typed: T = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{error} in {document:#}"));
    assert_eq!(
        &serde_json::to_value(&typed).unwrap(),
        document,
        "a field is misspelt or in the wrong place"
    );
}

fn knows_every_field(document: &Value) {
    match document["kind"].as_str().unwrap() {
        "ConfigMap" => round_trips::<ConfigMap>(document),
        "Deployment" => round_trips::<Deployment>(document),
        "MutatingWebhookConfiguration" => round_trips::<MutatingWebhookConfiguration>(document),
        "Namespace" => round_trips::<Namespace>(document),
        "NetworkPolicy" => round_trips::<NetworkPolicy>(document),
        "PodDisruptionBudget" => round_trips::<PodDisruptionBudget>(document),
        "Service" => round_trips::<Service>(document),
        "ServiceAccount" => round_trips::<ServiceAccount>(document),
        other => panic!("no check for {other}"),
    }
}

#[test]
fn every_manifest_has_only_fields_that_kubernetes_knows() {
    installed().iter().for_each(knows_every_field);
    documents(&root().join("manifests/examples/runner-deployment.yaml"))
        .iter()
        .for_each(knows_every_field);
}

#[test]
fn every_yaml_file_parses_and_every_manifest_is_installed() {
    for folder in ["manifests", "manifests/examples", "certs"] {
        let files = yaml_files(folder);
        assert!(!files.is_empty(), "{folder}");
        assert!(files.iter().all(|file| !documents(file).is_empty()));
    }
    let kustomization = &documents(&root().join("manifests/kustomization.yaml"))[0];
    let listed: Vec<_> = kustomization["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    let present: Vec<_> = yaml_files("manifests")
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(listed, present, "files, in the order in which they are applied");
    assert_eq!(
        installed().last().unwrap()["kind"],
        "MutatingWebhookConfiguration",
        "comes last"
    );
}

#[test]
fn everything_is_in_the_namespace_podkey_and_passes_restricted_there() {
    let labels = &one("Namespace")["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    for document in installed() {
        let namespaced = !["Namespace", "MutatingWebhookConfiguration"].contains(&document["kind"].as_str().unwrap());
        assert_eq!(
            document["metadata"]["namespace"] == "podkey",
            namespaced,
            "{}",
            document["kind"]
        );
        assert_eq!(document["metadata"]["name"], "podkey");
    }

    let deployment = one("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532, "the image's user");
    assert_eq!(
        pod["securityContext"]["seccompProfile"],
        json!({"type": "RuntimeDefault"})
    );
    for setting in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(setting).is_none(), "{setting}");
    }
    let allowed: BTreeSet<_> = ["configMap", "emptyDir", "projected", "secret", "name"].into();
    for volume in pod["volumes"].as_array().unwrap() {
        assert!(
            volume
                .as_object()
                .unwrap()
                .keys()
                .all(|key| allowed.contains(key.as_str())),
            "{volume}"
        );
    }
    let container = container();
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        })
    );
}

#[test]
fn the_webhook_has_no_rights_and_no_token() {
    assert_eq!(one("ServiceAccount")["automountServiceAccountToken"], false);
    let deployment = one("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["serviceAccountName"], "podkey");
    assert!(!pod["volumes"].to_string().contains("serviceAccountToken"));
    assert!(
        installed()
            .iter()
            .all(|document| !document["kind"].as_str().unwrap().contains("Role"))
    );
    let policy = one("NetworkPolicy");
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert!(policy["spec"].get("egress").is_none(), "no egress at all");
}

#[test]
fn a_roll_out_or_a_drain_never_takes_the_last_replica() {
    let deployment = one("Deployment");
    let spec = &deployment["spec"];
    assert!(spec["replicas"].as_u64().unwrap() >= 2);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
    );
    assert_eq!(
        spec["template"]["spec"]["topologySpreadConstraints"][0]["topologyKey"],
        "kubernetes.io/hostname"
    );
    assert_eq!(one("PodDisruptionBudget")["spec"]["maxUnavailable"], 1);

    let timeout = one("MutatingWebhookConfiguration")["webhooks"][0]["timeoutSeconds"]
        .as_u64()
        .unwrap();
    let grace = 10;
    let period = spec["template"]["spec"]["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap();
    assert!(
        period >= grace + timeout + 5,
        "{period} s are too short to shut down in"
    );

    let resources = container()["resources"].clone();
    assert!(resources["requests"]["cpu"].is_string());
    assert!(
        resources["limits"].get("cpu").is_none(),
        "throttling shows as time-outs"
    );
}

#[test]
fn selectors_and_ports_meet() {
    let deployment = one("Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let selectors = [
        deployment["spec"]["selector"]["matchLabels"].clone(),
        deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].clone(),
        one("Service")["spec"]["selector"].clone(),
        one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].clone(),
        one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].clone(),
    ];
    for selector in selectors {
        assert_eq!(&selector, labels);
    }

    let container = container();
    let port = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(argument("--listen"), format!("0.0.0.0:{}", port("webhook")));
    assert_eq!(argument("--admin-listen"), format!("0.0.0.0:{}", port("admin")));
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "admin"}));
    }

    let service = one("Service");
    assert_eq!(
        service["spec"]["ports"].as_array().unwrap().len(),
        1,
        "the admin port is not for everyone"
    );
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "webhook");
    let client = &one("MutatingWebhookConfiguration")["webhooks"][0]["clientConfig"];
    assert_eq!(
        client["service"],
        json!({
            "namespace": service["metadata"]["namespace"], "name": service["metadata"]["name"],
            "port": service["spec"]["ports"][0]["port"], "path": "/mutate",
        })
    );

    let ingress = one("NetworkPolicy")["spec"]["ingress"].clone();
    assert_eq!(ingress[0]["ports"][0]["port"].as_u64(), Some(port("webhook")));
    assert!(ingress[0].get("from").is_none(), "API servers are no pods");
    assert_eq!(ingress[1]["ports"][0]["port"].as_u64(), Some(port("admin")));
}

#[test]
fn config_and_certificate_are_mounted_where_the_program_looks() {
    let deployment = one("Deployment");
    let volumes = &deployment["spec"]["template"]["spec"]["volumes"];
    let container = container();
    assert_eq!(volumes.as_array().unwrap().len(), 1);
    assert_eq!(container["volumeMounts"].as_array().unwrap().len(), 1);
    assert_eq!(container["volumeMounts"][0]["name"], volumes[0]["name"]);
    assert_eq!(container["volumeMounts"][0]["readOnly"], true);
    let mount = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    let projected = &volumes[0]["projected"];
    assert_eq!(
        projected["defaultMode"], 0o440,
        "for the group alone, which is the pod's fsGroup"
    );
    assert_eq!(
        deployment["spec"]["template"]["spec"]["securityContext"]["fsGroup"],
        65532
    );

    assert_eq!(
        projected["sources"][0]["configMap"]["name"],
        one("ConfigMap")["metadata"]["name"]
    );
    assert_eq!(argument("--config"), format!("{mount}/config.yaml"));
    let secret = &projected["sources"][1]["secret"];
    assert_eq!(secret["name"], "podkey-tls");
    for (flag, item) in [("--tls-cert", &secret["items"][0]), ("--tls-key", &secret["items"][1])] {
        let path = item["path"].as_str().unwrap();
        assert_eq!(argument(flag), format!("{mount}/{path}"));
        assert!(path.ends_with(item["key"].as_str().unwrap()));
    }
}

#[test]
fn the_api_server_sends_new_pods_with_an_annotation_of_ours_and_nothing_else() {
    let configuration = one("MutatingWebhookConfiguration");
    assert_eq!(configuration["webhooks"].as_array().unwrap().len(), 1);
    let webhook = &configuration["webhooks"][0];
    assert!(
        webhook["name"].as_str().unwrap().split('.').count() >= 3,
        "what the API server asks of the name"
    );
    let settings = json!({
        "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 5,
        "reinvocationPolicy": "IfNeeded", "matchPolicy": "Equivalent",
    });
    for (key, value) in settings.as_object().unwrap() {
        assert_eq!(&webhook[key], value, "{key}");
    }
    assert_eq!(
        webhook["rules"],
        json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            "scope": "Namespaced",
        }])
    );
    assert_eq!(
        webhook["namespaceSelector"],
        json!({"matchExpressions": [{
            "key": "kubernetes.io/metadata.name", "operator": "NotIn",
            "values": ["kube-system", "kube-node-lease", "kube-public", "podkey"],
        }]})
    );
    let conditions = webhook["matchConditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 1);
    assert_eq!(
        conditions[0]["expression"],
        format!("has(object.metadata.annotations) && object.metadata.annotations.exists(k, k.startsWith('{PREFIX}'))")
    );
    assert!(
        webhook["clientConfig"].get("caBundle").is_none(),
        "applying it again must not wipe the injected one"
    );
}

#[test]
fn every_argument_of_the_deployment_is_one_the_program_has() {
    let help = podkey(&["serve", "--help"], "");
    let help = String::from_utf8(help.stdout).unwrap();
    let container = container();
    let args = container["args"].as_array().unwrap();
    assert_eq!(args[0], "serve");
    for flag in args
        .iter()
        .map(|arg| arg.as_str().unwrap())
        .filter(|arg| arg.starts_with("--"))
    {
        assert!(
            help.split_whitespace().any(|word| word == flag),
            "no {flag} in `podkey serve --help`:\n{help}"
        );
    }
}

#[test]
fn webhook_agent_and_image_are_of_one_version() {
    let image = container()["image"].as_str().unwrap().to_owned();
    let config: Value = serde_saphyr::from_str(&operator_config()).unwrap();
    assert_eq!(config["agent"]["image"], image, "one image holds both programs");
    assert!(image.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))), "{image}");
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
    assert!(dockerfile.contains(concat!("ARG VERSION=", env!("CARGO_PKG_VERSION"), "\n")));
}

/// The injected pod, as `podkey inject` prints it.
fn inject(document: &Value, namespace: &str) -> Value {
    let config = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(config.path(), operator_config()).unwrap();
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
fn annotations_in_the_examples_are_of_our_prefix_and_need_no_secret() {
    let values = fs::read_to_string(root().join("manifests/examples/arc-scale-set-values.yaml")).unwrap();
    let deployment = fs::read_to_string(root().join("manifests/examples/runner-deployment.yaml")).unwrap();
    for text in [values, deployment] {
        assert!(text.contains(&format!("{PREFIX}files: |")));
        assert!(!text.contains("secretKeyRef") && !text.contains("kind: Secret"));
    }
}

#[test]
fn the_certificate_is_for_the_service_and_lands_where_the_deployment_mounts_it() {
    let script = fs::read_to_string(root().join("certs/dev-certs.sh")).unwrap();
    assert!(script.contains("service=podkey.podkey.svc\n"));
    assert!(script.contains("create secret tls podkey-tls --namespace podkey"));
    assert!(script.contains("patch mutatingwebhookconfiguration podkey"));

    let documents = documents(&root().join("certs/cert-manager.yaml"));
    let certificate = documents
        .iter()
        .find(|document| document["metadata"]["name"] == "podkey-tls")
        .unwrap();
    let spec = &certificate["spec"];
    assert_eq!(spec["secretName"], "podkey-tls");
    assert_eq!(spec["dnsNames"][0], "podkey.podkey.svc");
    assert_eq!(
        (&spec["privateKey"]["algorithm"], &spec["privateKey"]["size"]),
        (&json!("ECDSA"), &json!(256))
    );
    let issuers: BTreeSet<_> = documents
        .iter()
        .filter(|document| document["kind"] == "Issuer")
        .map(|document| document["metadata"]["name"].as_str().unwrap())
        .collect();
    for certificate in documents.iter().filter(|document| document["kind"] == "Certificate") {
        assert_eq!(certificate["metadata"]["namespace"], "podkey");
        assert!(issuers.contains(certificate["spec"]["issuerRef"]["name"].as_str().unwrap()));
    }
}

#[test]
fn the_development_certificate_is_one_that_rustls_takes() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        // The second time it keeps the CA, so that a caBundle already in the cluster stays right.
        let made = Command::new(root().join("certs/dev-certs.sh"))
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
    let certificate = CertificateDer::from_pem_file(folder.path().join("tls.crt")).unwrap();
    let authority = CertificateDer::from_pem_file(folder.path().join("ca.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.path().join("tls.key")).unwrap();

    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("certificate and key belong together");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority).unwrap();
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .unwrap();
    use rustls::client::danger::ServerCertVerifier as _;
    let name = ServerName::try_from("podkey.podkey.svc").unwrap();
    verifier
        .verify_server_cert(&certificate, &[], &name, &[], UnixTime::now())
        .unwrap();
}

#[test]
fn the_config_map_holds_a_config_that_the_webhook_takes() {
    podkey::inject::Config::parse(&operator_config(), |_| Err("is not there".to_owned())).unwrap();
}
