//! Variables that the kubelet sets (`podkey.dev/env-delivery: kubelet`): what only a real kubelet shows. Left out on clusters before
//! Kubernetes 1.35.

use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::pod::{Pod, container, definition, fresh, init_containers, pod, status};
use crate::harness::{LIMIT, left_out, merge, wait};

/// Whether the cluster's kubelets set variables from files.
fn kubelets_set_variables(test: &str) -> bool {
    let version = cluster().get("/version");
    let minor: String = version["minor"].as_str().unwrap_or_default().into();
    let minor: u32 = minor.trim_end_matches('+').parse().unwrap_or_default();
    if minor < 35 {
        left_out(test, &format!("Kubernetes 1.{minor} has no fileKeyRef"));
    }
    minor >= 35
}

/// A pod whose command only the image knows: the test's image has no entrypoint, so `args` are the whole command.
fn without_command(vault: &Vault<'_>, script: &str) -> Value {
    let mut app = merge(pod("app", ""), &annotated(vault));
    let main = &mut app["spec"]["containers"][0];
    *main = merge(main.clone(), &json!({"command": null, "args": ["sh", "-c", script]}));
    app
}

fn annotated(vault: &Vault<'_>) -> Value {
    json!({"metadata": {"annotations": {
        "podkey.dev/role": ROLE, "podkey.dev/auth-mount": vault.auth,
        "podkey.dev/env": format!("{0}/data/web password | PASSWORD; {0}/data/web user | DB_USER", vault.kv),
    }}})
}

/// Runs until it is told to end.
const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 0.2; done";

/// The log of `main` has this line.
#[track_caller]
fn says(pod: &Pod<'_>, line: &str) {
    wait(LIMIT, || pod.log("main").lines().any(|said| said == line).then_some(()))
        .unwrap_or_else(|| panic!("{line:?} is not in {:?}\n{}", pod.log("main"), pod.story()));
}

fn mounts(pod: &Value, container: &str) -> Vec<String> {
    let mounts = definition(pod, container)["volumeMounts"].as_array();
    let names = mounts.into_iter().flatten().filter_map(|mount| mount["name"].as_str());
    names
        .filter(|name| name.starts_with("podkey"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn an_image_whose_command_nobody_names_has_its_variables_and_so_have_probes_hooks_and_kubectl_exec() {
    if !kubelets_set_variables("variables of an image without a command") {
        return;
    }
    let namespace = Namespace::new("kubelet-env");
    let vault = Vault::new(&namespace);
    vault.put(
        "web",
        &json!({"password": "$(DB_USER) ${x}\n  # \"%\" ", "user": "static-user"}),
    );
    let script =
        format!("printf '<%s>\\n' \"$AUTHORIZATION\" \"$PASSWORD\"; cat /tmp/hook; ls /podkey 2>&1; {FOREVER}");
    let mut app = without_command(&vault, &script);
    let main = &mut app["spec"]["containers"][0];
    *main = merge(
        main.clone(),
        &json!({
            "env": [{"name": "AUTHORIZATION", "value": "Basic $(DB_USER)"}],
            "readinessProbe": {"periodSeconds": 1, "exec": {"command": ["sh", "-c", "test \"$DB_USER\" = static-user"]}},
            "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "echo \"hook: $DB_USER\" >/tmp/hook"]}}},
        }),
    );
    let pod = namespace.create(&app);
    // Ready, because the probe sees the variable.
    let object = pod.running();
    assert_eq!(
        pod.exec("main", &["sh", "-c", "echo \"$DB_USER\"; cat /tmp/hook"])
            .unwrap(),
        "static-user\nhook: static-user\n"
    );
    for line in [
        "<Basic static-user>",
        "<$(DB_USER) ${x}",
        "  # \"%\" >",
        "ls: /podkey: No such file or directory",
    ] {
        says(&pod, line);
    }
    let injected = &object["metadata"]["annotations"]["podkey.dev/injected"];
    assert!(
        injected.as_str().unwrap().ends_with("; env-delivery=kubelet"),
        "{injected}"
    );
    assert_eq!(mounts(&object, "main"), [""; 0]);
    assert_eq!(mounts(&object, "podkey-init"), ["podkey-token", "podkey-env"]);
    assert_eq!(init_containers(&object), ["podkey-init"]);
    let mounted = pod.exec("main", &["cat", "/proc/mounts"]).unwrap();
    let points = mounted.lines().filter_map(|line| line.split(' ').nth(1));
    assert_eq!(
        points.filter(|point| point.starts_with("/podkey")).count(),
        0,
        "{mounted}"
    );
    assert!(
        !object.to_string().contains("# \\\"%"),
        "the value is in the pod's definition"
    );
}

#[test]
fn the_agent_and_the_kubelet_set_variables_in_the_containers_of_one_pod() {
    if !kubelets_set_variables("variables by the agent and the kubelet") {
        return;
    }
    let namespace = Namespace::new("mixed-env");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret", "user": "static-user"}));
    let mut app = without_command(&vault, "echo \"$PASSWORD\"; ls /podkey 2>&1 || true");
    let named = container("named", "echo \"$PASSWORD\"; ls /podkey");
    app["spec"]["containers"].as_array_mut().unwrap().push(named);
    let pod = namespace.create(&app);
    assert_eq!(pod.succeeds(), "s3cret\nls: /podkey: No such file or directory\n");
    assert_eq!(pod.log("named"), "s3cret\nbin\nsecrets\n");
    let injected = &pod.object()["metadata"]["annotations"]["podkey.dev/injected"];
    assert!(
        injected.as_str().unwrap().ends_with("; env-delivery=exec,kubelet"),
        "{injected}"
    );
}

#[test]
fn a_value_that_the_kubelet_cannot_set_is_named_in_the_termination_message_with_the_way_out() {
    if !kubelets_set_variables("a value with an apostrophe") {
        return;
    }
    let namespace = Namespace::new("apostrophe");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret's", "user": "static-user"}));
    let end = namespace.create(&without_command(&vault, "env")).refused();
    assert_eq!(end.code, 65, "{end:?}");
    for text in [
        "PASSWORD",
        "apostrophe",
        "podkey.dev/env-delivery: exec",
        "podkey.dev/files",
    ] {
        assert!(end.message.contains(text), "{end:?}");
    }
    assert!(!end.message.contains("s3cret"), "{end:?}");
}

/// Where a secret may be missing, the kubelet leaves its variable out.
#[test]
fn a_variable_of_a_missing_secret_is_not_set_and_the_container_starts() {
    if !kubelets_set_variables("a variable of a missing secret") {
        return;
    }
    let namespace = Namespace::new("missing-env");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret", "user": "static-user"}));
    let env = format!(
        "{0}/data/web password | PASSWORD; {0}/data/none user | DB_USER",
        vault.kv
    );
    let app = without_command(&vault, "echo \"$PASSWORD ${DB_USER-unset}\"");
    let annotations = json!({"podkey.dev/env": env, "podkey.dev/ignore-not-found": "true"});
    let pod = namespace.create(&merge(app, &json!({"metadata": {"annotations": annotations}})));
    assert_eq!(pod.succeeds(), "s3cret unset\n");
}

#[test]
fn with_refresh_a_container_that_starts_again_has_the_new_value() {
    if !kubelets_set_variables("a refreshed variable") {
        return;
    }
    let namespace = Namespace::new("fresh-env");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "first", "user": "static-user"}));
    let app = fresh(without_command(&vault, &format!("echo \"$PASSWORD\"; {FOREVER}")), "5s");
    let app = merge(app, &json!({"spec": {"restartPolicy": "Always"}}));
    let pod = namespace.create(&app);
    let object = pod.running();
    says(&pod, "first");
    assert_eq!(mounts(&object, "main"), [""; 0]);
    assert_eq!(
        mounts(&object, "podkey-sidecar"),
        ["podkey-token", "podkey-handover", "podkey-env"]
    );
    vault.put("web", &json!({"password": "second", "user": "static-user"}));
    wait(LIMIT, || {
        pod.log("podkey-sidecar").contains("file changed").then_some(())
    })
    .unwrap_or_else(|| panic!("{}", pod.log("podkey-sidecar")));
    // The process has the environment of its start.
    assert_eq!(
        pod.exec("main", &["sh", "-c", "tr '\\0' '\\n' </proc/1/environ | grep PASSWORD"])
            .unwrap(),
        "PASSWORD=first\n"
    );
    pod.exec("main", &["kill", "1"]).unwrap();
    says(&pod, "second");
    let object = pod.object();
    assert_eq!(status(&object, "podkey-init")["restartCount"], 0);
    assert_eq!(status(&object, "podkey-sidecar")["restartCount"], 0);
}
