//! `on-change: restart` with a real kubelet: a rotation restarts the containers in place.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::pod::{Pod, fresh, patient, status};
use crate::harness::{LIMIT, left_out, merge, wait};

/// Shows the variable once, and runs on.
const SHOW: &str = "trap 'exit 0' TERM; echo \"$PASSWORD\"; while :; do sleep 0.2; done";

/// Whether the kubelets can restart all containers of a pod, as podkey learns it.
fn kubelets_can(test: &str) -> bool {
    let nodes = cluster().get("/api/v1/nodes");
    let declares = |node: &Value| {
        let features = node["status"]["declaredFeatures"].as_array();
        features.is_some_and(|all| all.contains(&json!("RestartAllContainersOnContainerExits")))
    };
    let can = nodes["items"].as_array().unwrap().iter().all(declares);
    if !can {
        left_out(test, "a kubelet has no RestartAllContainersOnContainerExits");
    }
    can
}

/// A pod that shows its variable, and restarts when the secret `web` changes.
fn showing(vault: &Vault<'_>, more: &Value) -> Value {
    let annotations = merge(
        more.clone(),
        &json!({
            "podkey.dev/role": ROLE,
            "podkey.dev/auth-mount": vault.auth,
            "podkey.dev/env": format!("{}/data/web password | PASSWORD", vault.kv),
            "podkey.dev/on-change": "restart",
        }),
    );
    let app = merge(
        patient("app", SHOW),
        &json!({"metadata": {"annotations": annotations}, "spec": {"restartPolicy": "Always"}}),
    );
    fresh(app, "5s")
}

fn put(vault: &Vault<'_>, value: &str) {
    vault.put("web", &json!({"password": value}));
}

fn restarts(pod: &Pod<'_>, container: &str) -> u64 {
    status(&pod.object(), container)["restartCount"].as_u64().unwrap()
}

/// Waits until the container has so many restarts, or more. The kubelet may report a restart after the container has written its log.
#[track_caller]
fn restarted(pod: &Pod<'_>, container: &str, least: u64) -> u64 {
    let enough = || Some(restarts(pod, container)).filter(|count| *count >= least);
    wait(LIMIT, enough).unwrap_or_else(|| panic!("{container}\n{}", pod.story()))
}

#[test]
fn a_rotation_restarts_the_containers_in_place_and_a_secret_that_flaps_makes_no_loop() {
    if !kubelets_can("a rotation restarts the containers") {
        return;
    }
    let namespace = Namespace::new("restart");
    let vault = Vault::new(&namespace);
    put(&vault, "first");
    let pod = namespace.create(&showing(&vault, &json!({})));
    pod.shows("first");
    let before = pod.running();

    put(&vault, "second");
    let took = pod.shows("second");
    for container in ["main", "podkey-init", "podkey-sidecar"] {
        restarted(&pod, container, 1);
    }
    let after = pod.running();
    let begun = Instant::now();
    println!("a changed value is in the variable after {took:.1?}, with refresh: 5s");
    for field in ["/metadata/uid", "/spec/nodeName", "/status/podIP"] {
        assert_eq!(after.pointer(field), before.pointer(field), "{field}");
    }
    for container in ["main", "podkey-init", "podkey-sidecar"] {
        assert_eq!(
            status(&after, container)["restartCount"],
            1,
            "{container}\n{}",
            pod.story()
        );
    }

    for number in 0..5 {
        put(&vault, &format!("flap-{number}"));
        std::thread::sleep(Duration::from_secs(6));
    }
    wait(LIMIT, || {
        let log = pod.log("podkey-sidecar");
        (log.contains("after the pause between two restarts") || restarts(&pod, "main") > 1).then_some(())
    })
    .unwrap_or_else(|| panic!("{}", pod.story()));
    pod.shows("flap-4");
    let count = restarted(&pod, "main", 2);
    let most = 2 + begun.elapsed().as_secs() / 60;
    println!("five further changes in 30 s: {} more restarts", count - 1);
    assert!(count <= most, "{count} restarts, at most {most}");
    wait(LIMIT, || (vault.tokens() == 1).then_some(())).expect("one token");
    cluster().delete(&pod.path());
    wait(LIMIT, || (vault.tokens() == 0).then_some(())).expect("no token is left");
}

/// The image, not the pod, would name the command: the test's image has none, so `args` are the whole command.
#[test]
fn a_rotation_reaches_variables_that_the_kubelet_sets() {
    if !kubelets_can("a restart and variables that the kubelet sets") {
        return;
    }
    let namespace = Namespace::new("restart-kubelet");
    let vault = Vault::new(&namespace);
    put(&vault, "first");
    let mut app = showing(&vault, &json!({}));
    let main = &mut app["spec"]["containers"][0];
    *main = merge(main.clone(), &json!({"command": null, "args": ["sh", "-c", SHOW]}));
    let pod = namespace.create(&app);
    pod.shows("first");
    let injected = pod.object()["metadata"]["annotations"]["podkey.dev/injected"].to_string();
    assert!(injected.contains("env-delivery=kubelet"), "{injected}");
    put(&vault, "second");
    pod.shows("second");
    assert_eq!(restarted(&pod, "main", 1), 1, "{}", pod.story());
}

/// The credential is still good, and podkey-init makes another one: each token takes its leases along.
#[test]
fn a_restart_leaves_neither_tokens_nor_leases() {
    if !kubelets_can("a restart and dynamic credentials") {
        return;
    }
    let namespace = Namespace::new("restart-lease");
    let vault = Vault::new(&namespace);
    let mount = vault.engine("pki", "issue/app", "update");
    let insist = |path: &str, body: Value| vault.api.insist("POST", &format!("/v1/{mount}/{path}"), &body);
    let ca = json!({"common_name": "podkey e2e", "key_type": "ec"});
    insist("root/generate/internal", ca);
    let role = json!({"allow_any_name": true, "key_type": "ec", "generate_lease": true, "ttl": "1h"});
    insist("roles/app", role);
    // `engine` has replaced the policy.
    let rules = format!(
        "path \"{mount}/issue/app\" {{ capabilities = [\"update\"] }}\npath \"{}/data/*\" {{ capabilities = [\"read\"] }}",
        vault.kv
    );
    let policy = format!("/v1/sys/policies/acl/{}", namespace.name);
    vault.api.insist("POST", &policy, &json!({"policy": rules}));
    put(&vault, "first");
    let issue = format!("{mount}/issue/app");
    let files = json!([{"secret": issue, "data": {"common_name": "app.example.com"}, "file": "web.json"}]);
    let pod = namespace.create(&showing(&vault, &vault.annotations_of(&files)));
    pod.shows("first");
    pod.running();
    assert_eq!((vault.tokens(), vault.leases(&issue)), (1, 1));

    put(&vault, "second");
    pod.shows("second");
    assert_eq!(restarted(&pod, "main", 1), 1, "{}", pod.story());
    pod.running();
    let are = |expected: (usize, usize)| {
        let mut left = (0, 0);
        wait(LIMIT, || {
            left = (vault.tokens(), vault.leases(&issue));
            (left == expected).then_some(())
        })
        .unwrap_or_else(|| panic!("tokens and leases: {left:?}"));
    };
    are((1, 1));
    cluster().delete(&pod.path());
    are((0, 0));
}
