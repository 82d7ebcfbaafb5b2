//! Pods with `hostUsers: false`: their users are others on the node, and must not be others in the pod.

use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{container, fresh, pod, status, watch};
use crate::harness::{left_out, merge};
use crate::hooks;

/// Shows the reader's user, and mode, owner and group of a file among the secrets and of one at a place of its own.
const SHOW: &str = "id -u; cat /proc/self/uid_map | tr -s ' '; for file in /podkey/secrets/password /tmp/single; do stat -Lc '%a %u %g' $file; \
                    cat $file; echo; done; touch /podkey/secrets/new 2>&1 || true";

/// Whether every node can give a pod users of its own. If not, the test is left out.
fn is_possible(test: &str) -> bool {
    let nodes = cluster().get("/api/v1/nodes");
    let can = |node: &Value| {
        let mut handlers = node["status"]["runtimeHandlers"].as_array().into_iter().flatten();
        handlers.any(|handler| handler["features"]["userNamespaces"] == true)
    };
    let possible = nodes["items"].as_array().unwrap().iter().all(can);
    if !possible {
        left_out(test, "a node's container runtime has no user namespaces");
    }
    possible
}

/// The pod with users of its own.
fn own_users(pod: Value) -> Value {
    merge(pod, &json!({"spec": {"hostUsers": false}}))
}

fn files() -> Value {
    json!([
        {"secret": "web", "key": "password", "file": "password"},
        {"secret": "web", "key": "password", "file": "/tmp/single"},
    ])
}

/// What `/proc/self/uid_map` says: no user of the pod is the node's user of that number.
#[track_caller]
fn is_mapped(map: &str) {
    let numbers: Vec<u32> = map.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert!(matches!(numbers[..], [0, host, 65536] if host >= 65536), "{map}");
}

#[test]
fn in_a_user_namespace_every_kind_of_user_reads_its_files() {
    if !is_possible("userns") {
        return;
    }
    let namespace = Namespace::new("userns");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    // As in `pods/users.rs`, without a user namespace.
    let cases = [
        ("undeclared", json!({}), "0", "444 65532 0"),
        ("root", json!({"runAsUser": 0}), "0", "400 65532 0"),
        ("runner", json!({"runAsUser": 1001}), "1001", "400 1001 0"),
        ("highest", json!({"runAsUser": 65535}), "65535", "400 65535 0"),
        ("group", json!({"fsGroup": 2000}), "0", "440 65532 2000"),
        (
            "both",
            json!({"runAsUser": 1001, "runAsGroup": 3000, "fsGroup": 2000}),
            "1001",
            "400 1001 2000",
        ),
    ];
    let pods = cases.each_ref().map(|(name, context, ..)| {
        let app = merge(
            own_users(pod(name, SHOW)),
            &json!({"spec": {"securityContext": context}}),
        );
        namespace.create(&vault.annotate(app, &files()))
    });
    for (pod, (name, _, user, file)) in pods.iter().zip(&cases) {
        let log = pod.succeeds();
        println!("{name}: {}", log.replace('\n', " | "));
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines[0], *user, "{name}");
        is_mapped(lines[1]);
        assert_eq!(lines[2..6], [*file, "s3cret", *file, "s3cret"], "{name}");
        assert!(lines[6].contains("Read-only file system"), "{name}: {log}");
    }
}

#[test]
fn in_a_user_namespace_files_stay_fresh() {
    if !is_possible("userns-fresh") {
        return;
    }
    let namespace = Namespace::new("userns-fresh");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "before"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let cases = [
        ("undeclared", json!({})),
        ("runner", json!({"runAsUser": 1001})),
        ("group", json!({"runAsUser": 1001, "fsGroup": 2000})),
    ];
    let pods = cases.each_ref().map(|(name, context)| {
        let app = merge(
            own_users(pod(name, &watch("password"))),
            &json!({"spec": {"securityContext": context}}),
        );
        namespace.create(&fresh(vault.annotate(app, &files), "5s"))
    });
    for pod in &pods {
        pod.shows("before");
    }
    vault.put("web", &json!({"password": "after"}));
    for (pod, (name, _)) in pods.iter().zip(&cases) {
        println!("{name}: after {:?}", pod.shows("after"));
        let object = pod.object();
        assert_eq!(status(&object, "podkey-sidecar")["restartCount"], 0, "{name}");
        let file = pod
            .exec("main", &["stat", "-Lc", "%a %u %g", "/podkey/secrets/password"])
            .unwrap();
        let expected = match *name {
            "undeclared" => "444 65532 0",
            "runner" => "400 1001 0",
            _ => "400 1001 2000",
        };
        assert_eq!(file.trim(), expected, "{name}");
    }
}

#[test]
fn in_a_user_namespace_the_job_gets_its_secrets_and_they_are_gone_when_it_ends() {
    if !is_possible("userns-hooks") {
        return;
    }
    for user in [1001, 0] {
        let namespace = Namespace::new("userns-hooks");
        let vault = Vault::new(&namespace);
        vault.put("web", &json!({"password": hooks::SECRET}));
        let definition = own_users(hooks::runner(&vault, hooks::RUNNER));
        let definition = merge(definition, &json!({"spec": {"securityContext": {"runAsUser": user}}}));
        let log = namespace.create(&definition).succeeds();
        println!("UID {user}\n{log}");
        hooks::is_delivered_and_cleared(&log);
    }
}

/// dind as ARC runs it, but root in the pod's own user namespace alone: there it mounts, and on the node it is nobody. ARC makes it
/// privileged; here one capability is enough.
#[test]
fn in_a_user_namespace_dind_without_privileges_and_the_runner_read_the_files() {
    if !is_possible("userns-dind") {
        return;
    }
    let namespace = Namespace::new("userns-dind");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let readers = json!({"metadata": {"annotations": {"podkey.dev/containers": "runner,dind"}}});
    let contexts = [
        ("privileged", json!({"privileged": true})),
        ("capability", json!({"capabilities": {"add": ["SYS_ADMIN"]}})),
    ];
    let pods = contexts
        .map(|(name, context)| namespace.create(&merge(vault.annotate(dind(name, &context), &files), &readers)));
    for pod in pods {
        let log = pod.succeeds();
        println!("{}: {log}", pod.name);
        let (runner, dind) = log.split_once("== dind\n").unwrap();
        assert_eq!(runner, "1001\n400 1001 0\ns3cret\n", "{}", pod.name);
        let map = dind.strip_prefix("0\n400 1001 0\ns3cret\n");
        is_mapped(map.unwrap_or_else(|| panic!("{}: {log}", pod.name)));
    }
}

/// A runner pod whose dind has this security context. Both show the user and the file; the runner hands on what dind saw.
fn dind(name: &str, context: &Value) -> Value {
    const LOOK: &str = "id -u; stat -Lc '%a %u %g' /podkey/secrets/password; cat /podkey/secrets/password; echo";
    let daemon = format!(
        "mkdir /tmp/mounted && mount -t tmpfs none /tmp/mounted || exit 1
         {{ {LOOK}; cat /proc/self/uid_map; }} >/var/run/seen 2>&1
         touch /var/run/docker.sock; trap 'exit 0' TERM; while :; do sleep 1; done"
    );
    let shared = json!([{"name": "dind-sock", "mountPath": "/var/run"}]);
    let probe = json!({"exec": {"command": ["test", "-e", "/var/run/docker.sock"]}, "periodSeconds": 1, "failureThreshold": 60});
    let dind = json!({
        "restartPolicy": "Always", "securityContext": context, "volumeMounts": shared, "startupProbe": probe,
    });
    let runner = json!({"securityContext": {"runAsUser": 1001}, "volumeMounts": shared});
    let runs = format!("{LOOK}; echo '== dind'; cat /var/run/seen");
    merge(
        own_users(pod(name, "")),
        &json!({
            "metadata": {"labels": {"actions-ephemeral-runner": "True"}},
            "spec": {
                "volumes": [{"name": "dind-sock", "emptyDir": {}}],
                "initContainers": [merge(container("dind", &daemon), &dind)],
                "containers": [merge(container("runner", &runs), &runner)],
            },
        }),
    )
}
