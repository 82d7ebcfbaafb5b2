//! Who reads the files: users and groups of all kinds, and what injection does to the pod's own token.

use serde_json::{Value, json};

use crate::harness::merge;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::Vault;
use crate::harness::pod::{container, definition, pod, status};
use crate::harness::settings::settings;

/// Shows the reader's user, the file's mode, owner and group, and the file.
const SHOW: &str = "id -u; stat -c '%a %u %g' /podkey/secrets/password; cat /podkey/secrets/password";

#[test]
fn every_kind_of_user_reads_its_files() {
    let namespace = Namespace::new("users");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let cases = [
        // What the image says, which is root here, and which nobody can know beforehand.
        ("undeclared", json!({}), "0", "444 65532 0"),
        ("root", json!({"runAsUser": 0}), "0", "400 65532 0"),
        ("runner", json!({"runAsUser": 1001}), "1001", "400 1001 0"),
        (
            "high",
            json!({"runAsUser": 1_000_650_000, "runAsNonRoot": true}),
            "1000650000",
            "400 1000650000 0",
        ),
        ("group", json!({"fsGroup": 2000}), "0", "440 65532 2000"),
        (
            "both",
            json!({"runAsUser": 1001, "runAsGroup": 3000, "fsGroup": 2000}),
            "1001",
            "400 1001 2000",
        ),
    ];
    let pods: Vec<_> = cases
        .iter()
        .map(|(name, context, ..)| {
            let app = merge(pod(name, SHOW), &json!({"spec": {"securityContext": context}}));
            namespace.create(&vault.annotate(app, &files))
        })
        .collect();
    for (pod, (name, _, user, file)) in pods.iter().zip(&cases) {
        let log = pod.succeeds();
        println!("{name}: {}", log.replace('\n', " | "));
        assert_eq!(log, format!("{user}\n{file}\ns3cret"), "{name}");
    }
}

#[test]
fn a_user_by_name_is_the_main_container_s_trouble_and_not_podkey_init_s() {
    let namespace = Namespace::new("named-user");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let named = |name: &str, context: Value| {
        let mut app = merge(pod(name, SHOW), &json!({"spec": {"securityContext": context}}));
        app["spec"]["containers"][0]["image"] = json!(settings().busybox_named);
        vault.annotate(app, &files)
    };
    let without = namespace.create(&named("without", json!({})));
    let numbered = namespace.create(&named("numbered", json!({"runAsNonRoot": true, "runAsUser": 1002})));
    let refused = namespace.create(&named("refused", json!({"runAsNonRoot": true})));

    // Without runAsNonRoot the image's user needs no number.
    assert_eq!(without.succeeds(), "1002\n444 65532 0\ns3cret");
    assert_eq!(numbered.succeeds(), "1002\n400 1002 0\ns3cret");
    // With it the kubelet refuses the container for its name, as it does without podkey. Ours has run before.
    let object = refused.until("refused by the kubelet", |pod| {
        status(pod, "main")["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    });
    let message = status(&object, "main")["state"]["waiting"]["message"].as_str().unwrap();
    println!("runAsNonRoot with a user by name: {message}");
    assert!(message.contains("non-numeric user"), "{message}");
    assert_eq!(status(&object, "podkey-init")["state"]["terminated"]["exitCode"], 0);
}

/// The kubelet makes the default token 0600 for its one user where all containers have the same, and else 0644.
#[test]
fn the_default_token_keeps_its_mode() {
    let namespace = Namespace::new("token-mode");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let show = "stat -Lc '%a %u %g' /var/run/secrets/kubernetes.io/serviceaccount/token";
    let of_container = |mut app: Value, context: Value| {
        app["spec"]["containers"][0]["securityContext"] = context;
        app
    };
    let cases = [
        ("undeclared", pod("undeclared", show)),
        (
            "pod",
            merge(
                pod("pod", show),
                &json!({"spec": {"securityContext": {"runAsUser": 1001}}}),
            ),
        ),
        (
            "container",
            of_container(pod("container", show), json!({"runAsUser": 1001})),
        ),
        ("root", of_container(pod("root", show), json!({"runAsUser": 0}))),
        (
            "group",
            merge(
                pod("group", show),
                &json!({"spec": {"securityContext": {"fsGroup": 2000}}}),
            ),
        ),
    ];
    let pods: Vec<_> = cases
        .iter()
        .map(|(name, app)| {
            let renamed = json!({"metadata": {"name": format!("{name}-injected")}});
            let injected = vault.annotate(merge(app.clone(), &renamed), &files);
            (namespace.create(app), namespace.create(&injected))
        })
        .collect();
    for ((name, _), (before, after)) in cases.iter().zip(&pods) {
        let (before, after) = (before.succeeds(), after.succeeds());
        println!("{name}: {} before, {} after", before.trim(), after.trim());
        if *name == "root" {
            // podkey-init is not root, so that the users differ and the kubelet lets all read.
            assert_eq!((before.trim(), after.trim()), ("600 0 0", "644 0 0"));
        } else {
            assert_eq!(before, after, "{name}");
        }
    }
}

#[test]
fn readers_of_several_users_all_read_and_so_does_an_init_container() {
    let namespace = Namespace::new("several");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let files = json!([{"secret": "web", "key": "password", "file": "password"}]);
    let as_user = |mut container: Value, user: u32| {
        container["securityContext"] = json!({"runAsUser": user});
        container
    };
    let mut app = pod("app", "");
    app["spec"]["containers"] = json!([
        as_user(container("one", SHOW), 1001),
        as_user(container("two", SHOW), 1002),
        as_user(container("three", "ls -d /podkey 2>&1; true"), 1003),
    ]);
    app["spec"]["initContainers"] = json!([as_user(container("prepare", SHOW), 1004)]);
    let which = json!({"metadata": {"annotations": {"podkey.dev/containers": "prepare,one,two"}}});
    let pod = namespace.create(&merge(vault.annotate(app, &files), &which));
    pod.succeeds();
    for (name, user) in [("prepare", 1004), ("one", 1001), ("two", 1002)] {
        assert_eq!(pod.log(name), format!("{user}\n444 65532 0\ns3cret"), "{name}");
    }
    assert!(pod.log("three").contains("No such file"), "{}", pod.log("three"));
    assert_eq!(
        definition(&pod.object(), "podkey-init")["securityContext"]["runAsUser"],
        65532
    );
}
