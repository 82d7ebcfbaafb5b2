//! A pod's life: its own init containers, a container that restarts, a sandbox that dies, a secret that comes late.

use serde_json::{Value, json};

use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{container, init_containers, pod, status};
use crate::harness::{LIMIT, merge, wait};

const FOREVER: &str = "cat /podkey/secrets/password /tmp/password; echo; trap 'exit 0' TERM; while :; do sleep 1; done";

fn files() -> Value {
    json!([
        {"secret": "web", "key": "password", "file": "password"},
        {"secret": "web", "key": "password", "file": "/tmp/password"},
    ])
}

#[test]
fn the_pod_s_own_init_containers_come_after_and_may_read_the_secrets() {
    let namespace = Namespace::new("own-init");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let mut app = pod("app", "cat /podkey/secrets/password /work/derived");
    app["spec"]["volumes"] = json!([{"name": "work", "emptyDir": {}}]);
    let work = json!([{"name": "work", "mountPath": "/work"}]);
    let mut derive = container(
        "derive",
        "sed 's/^/derived from /' /podkey/secrets/password > /work/derived",
    );
    derive["volumeMounts"] = work.clone();
    let other = container("other", "ls /podkey 2>&1; true");
    app["spec"]["initContainers"] = json!([other, derive]);
    app["spec"]["containers"][0]["volumeMounts"] = work;
    let which = json!({"metadata": {"annotations": {"podkey.dev/containers": "derive,main"}}});
    let pod = namespace.create(&merge(vault.annotate(app, &files()), &which));
    assert_eq!(pod.succeeds(), "s3cretderived from s3cret");
    assert_eq!(init_containers(&pod.object()), ["podkey-init", "other", "derive"]);
    assert!(pod.log("other").contains("No such file"), "{}", pod.log("other"));
}

#[test]
fn a_container_that_restarts_finds_its_files_again() {
    let namespace = Namespace::new("restart");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let app = pod(
        "app",
        "cat /podkey/secrets/password /tmp/password; echo; test -e /work/second || { touch /work/second; exit 1; }; sleep 3600",
    );
    let mut app = merge(app, &json!({"spec": {"restartPolicy": "Always"}}));
    app["spec"]["volumes"] = json!([{"name": "work", "emptyDir": {}}]);
    app["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
    let pod = namespace.create(&vault.annotate(app, &files()));
    let object = pod.until("restarted", |pod| {
        let status = status(pod, "main");
        status["restartCount"] == 1 && status["state"]["running"].is_object()
    });
    assert_eq!(status(&object, "podkey-init")["restartCount"], 0, "init ran again");
    wait(LIMIT, || (pod.log("main") == "s3crets3cret\n").then_some(()))
        .unwrap_or_else(|| panic!("{}", pod.log("main")));
}

/// When the sandbox dies, the kubelet makes another and runs every init container again, over the same volumes.
#[test]
fn podkey_init_runs_again_over_its_own_files_when_the_sandbox_died() {
    let namespace = Namespace::new("sandbox");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "before"}));
    let always = json!({"spec": {"restartPolicy": "Always"}});
    let pods: Vec<_> = [
        json!({}),
        json!({"runAsUser": 1001}),
        json!({"runAsUser": 1001, "fsGroup": 2000}),
    ]
    .iter()
    .enumerate()
    .map(|(index, context)| {
        let app = merge(pod(&format!("app-{index}"), FOREVER), &always);
        let app = merge(app, &json!({"spec": {"securityContext": context}}));
        namespace.create(&vault.annotate(app, &files()))
    })
    .collect();
    let uids: Vec<_> = pods
        .iter()
        .map(|pod| pod.running()["metadata"]["uid"].as_str().unwrap().to_owned())
        .collect();
    vault.put("web", &json!({"password": "after"}));

    // A pod that may see the node's processes ends all those of each pod, its sandbox's too. In the name of a cgroup a
    // UID has its own dashes or underscores.
    let uids = uids
        .iter()
        .map(|uid| format!("-e {}", uid.replace('-', "[-_]")))
        .collect::<Vec<_>>();
    let script = format!(
        "for p in /proc/[0-9]*; do grep -q {} $p/cgroup 2>/dev/null && kill -9 ${{p#/proc/}}; done; true",
        uids.join(" ")
    );
    let mut killer = merge(pod("killer", &script), &json!({"spec": {"hostPID": true}}));
    killer["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    namespace.create(&killer).succeeds();

    for pod in &pods {
        pod.until("started again with what is in OpenBao now", |object| {
            status(object, "podkey-init")["restartCount"].as_u64() >= Some(1)
                && status(object, "main")["state"]["running"].is_object()
                && pod.log("main") == "afterafter\n"
        });
    }
}

#[test]
fn podkey_init_is_tried_again_until_the_secret_is_there() {
    let namespace = Namespace::new("late-secret");
    let vault = Vault::new(&namespace);
    vault.put("other", &json!({"password": "x"}));
    let app = merge(pod("app", FOREVER), &json!({"spec": {"restartPolicy": "Always"}}));
    let pod = namespace.create(&vault.annotate(app, &files()));
    pod.until("failed once", |pod| {
        status(pod, "podkey-init")["lastState"]["terminated"]["exitCode"] == 66
    });
    vault.put("web", &json!({"password": "s3cret"}));
    pod.running();
    wait(LIMIT, || (pod.log("main") == "s3crets3cret\n").then_some(()))
        .unwrap_or_else(|| panic!("{}", pod.log("main")));
}
