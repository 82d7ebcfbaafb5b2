//! What a pod reports when it gets no secrets: a reader of `kubectl describe pod` must learn what to repair.

use serde_json::{Value, json};

use crate::harness::api::cluster;
use crate::harness::namespace::Namespace;
use crate::harness::openbao::{ROLE, Vault};
use crate::harness::pod::{End, Pod, pod};
use crate::harness::settings::settings;
use crate::harness::{LIMIT, left_out, merge, wait};

const SHOW: &str = "cat /podkey/secrets/password";

fn files() -> Value {
    json!([{"secret": "web", "key": "password", "file": "password"}])
}

fn annotated(vault: &Vault<'_>, name: &str, annotations: &Value) -> Value {
    merge(
        vault.annotate(pod(name, SHOW), &files()),
        &json!({"metadata": {"annotations": annotations}}),
    )
}

/// podkey-init's last line has this exit code, and each of these texts.
#[track_caller]
fn says(case: &str, end: &End, code: i64, texts: &[&str]) {
    println!("{case}: {}", end.message);
    assert_eq!(end.code, code, "{case}: {}", end.message);
    for text in texts {
        assert!(end.message.contains(text), "{case}: no {text:?} in: {}", end.message);
    }
}

#[test]
fn a_login_that_is_refused_names_role_mount_and_audience() {
    let namespace = Namespace::new("login");
    let name = &namespace.name;
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    vault.role("other-audience", &json!({"audience": "elsewhere"}));
    vault.role(
        "other-account",
        &json!({"audience": "vault", "bound_service_account_names": ["somebody"]}),
    );
    vault.role(
        "other-namespace",
        &json!({"audience": "vault", "bound_service_account_namespaces": ["elsewhere"]}),
    );
    let mount = format!("auth/{}", vault.auth);
    let sent = format!("service account default in namespace {name} with audience vault");
    let role = |role: &str| json!({"podkey.dev/role": role});
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        (
            "other-audience",
            role("other-audience"),
            vec![
                "the role other-audience",
                &mount,
                "invalid audience",
                &sent,
                "compare with the role's bound",
            ],
        ),
        (
            "other-account",
            role("other-account"),
            vec![
                "the role other-account",
                &mount,
                "service account name not authorized",
                &sent,
            ],
        ),
        (
            "other-namespace",
            role("other-namespace"),
            vec!["the role other-namespace", &mount, "namespace not authorized", &sent],
        ),
        (
            "no-role",
            role("nope"),
            vec!["the role nope does not exist", &mount, "podkey.dev/role"],
        ),
        (
            "no-mount",
            json!({"podkey.dev/auth-mount": "my-cluster/nope"}),
            vec!["auth/my-cluster/nope", ROLE, "the mount exists"],
        ),
        (
            "wrong-connection",
            json!({"podkey.dev/connection": "no-audience"}),
            vec![ROLE, &mount, "invalid audience"],
        ),
    ];
    let pods: Vec<Pod<'_>> = cases
        .iter()
        .map(|(name, annotations, _)| namespace.create(&annotated(&vault, name, annotations)))
        .collect();
    for (pod, (name, _, texts)) in pods.iter().zip(&cases) {
        says(name, &pod.refused(), 77, texts);
    }
}

#[test]
fn a_read_that_fails_names_path_and_role() {
    let namespace = Namespace::new("read");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "not base64!"}));
    let kv = &vault.kv;
    let file = |file: Value| json!({"podkey.dev/files": json!([file]).to_string()});
    let cases: Vec<(&str, Value, i64, Vec<String>)> = vec![
        (
            "no-right",
            file(json!({"secret": "secret/data/web", "file": "x"})),
            77,
            vec![
                format!("the role {ROLE} may not read secret/data/web"),
                "add `read`".to_owned(),
            ],
        ),
        (
            "no-secret",
            file(json!({"secret": format!("{kv}/data/wbe"), "file": "x"})),
            66,
            vec![format!("no secret at {kv}/data/wbe"), "has no such secret".to_owned()],
        ),
        (
            "no-key",
            file(json!({"secret": format!("{kv}/data/web"), "key": "pasword", "file": "x"})),
            66,
            vec![format!("{kv}/data/web"), "pasword".to_owned()],
        ),
        (
            "no-base64",
            file(json!({"secret": format!("{kv}/data/web"), "key": "password", "decode": "base64", "file": "x"})),
            65,
            vec![format!("{kv}/data/web"), "password".to_owned(), "base64".to_owned()],
        ),
        (
            "no-version",
            file(json!({"secret": format!("{kv}/data/web"), "key": "password", "version": 7, "file": "x"})),
            66,
            vec![
                format!("no version 7 at {kv}/data/web"),
                "the newest version is 1".to_owned(),
            ],
        ),
    ];
    let pods: Vec<Pod<'_>> = cases
        .iter()
        .map(|(name, annotations, ..)| namespace.create(&annotated(&vault, name, annotations)))
        .collect();
    for (pod, (name, _, code, texts)) in pods.iter().zip(&cases) {
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let end = pod.refused();
        says(name, &end, *code, &texts);
        assert!(!end.message.contains("not base64!"), "the secret is in the message");
        assert!(
            !pod.log("podkey-init").contains("not base64!"),
            "the secret is in the log"
        );
    }
}

#[test]
fn a_server_that_cannot_be_reached_or_trusted_is_told_apart() {
    let namespace = Namespace::new("server");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let by = |name: &str| namespace.create(&annotated(&vault, name, &json!({"podkey.dev/connection": name})));
    let (untrusted, nobody) = (by("untrusted"), by("nobody"));
    says(
        "untrusted",
        &untrusted.refused(),
        78,
        &["not signed by any of the connection's CAs", "caFile"],
    );
    says(
        "nobody",
        &nobody.refused(),
        69,
        &["cannot be reached", "is it running", "NetworkPolicy"],
    );
}

/// The reviewer gets its right late, as when somebody does what the message says: no pod must be restarted.
#[test]
fn a_reviewer_without_its_right_for_15_seconds_only_delays_the_pod() {
    let namespace = Namespace::new("reviewer");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    let binding = cluster().get(&vault.reviewer);
    cluster().delete(&vault.reviewer);
    let late = namespace.create(&annotated(&vault, "late", &json!({})));
    wait(LIMIT, || {
        late.log("podkey-init").contains("permission denied").then_some(())
    })
    .unwrap_or_else(|| panic!("{}", late.story()));
    std::thread::sleep(std::time::Duration::from_secs(15));
    let (parent, _) = vault.reviewer.rsplit_once('/').unwrap();
    let name = &binding["metadata"]["name"];
    let again = merge(binding.clone(), &json!({"metadata": null}));
    cluster().create(
        parent,
        &merge(
            again,
            &json!({"metadata": {"name": name, "labels": binding["metadata"]["labels"]}}),
        ),
    );
    assert_eq!(late.succeeds(), "s3cret");
    assert_eq!(late.object()["status"]["initContainerStatuses"][0]["restartCount"], 0);
}

#[test]
fn a_reviewer_that_never_gets_its_right_is_what_the_message_speaks_of() {
    let namespace = Namespace::new("no-reviewer");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    cluster().delete(&vault.reviewer);
    let end = namespace.create(&annotated(&vault, "app", &json!({}))).refused();
    let mount = format!("auth/{}", vault.auth);
    let texts = [&*mount, ROLE, "system:auth-delegator", "token_reviewer_jwt"];
    says("no reviewer", &end, 77, &texts);

    // The same words in what people look at first.
    let describe = std::process::Command::new("kubectl")
        .args(["describe", "pod", "app", "--namespace", &namespace.name])
        .env("KUBECONFIG", &settings().kubeconfig)
        .output();
    match describe {
        Ok(output) => {
            let shown = String::from_utf8_lossy(&output.stdout);
            assert!(texts.iter().all(|text| shown.contains(text)), "{shown}");
        }
        Err(error) => left_out("kubectl describe", &format!("kubectl in PATH: {error}")),
    }
}

#[test]
fn a_service_account_that_is_deleted_gets_no_secrets() {
    let namespace = Namespace::new("deleted");
    let vault = Vault::new(&namespace);
    vault.put("web", &json!({"password": "s3cret"}));
    vault.role(
        ROLE,
        &json!({"audience": "vault", "bound_service_account_names": ["short-lived"]}),
    );
    namespace.service_account("short-lived");
    let app = |name: &str| {
        merge(
            annotated(&vault, name, &json!({})),
            &json!({"spec": {"serviceAccountName": "short-lived"}}),
        )
    };

    // While it holds a token and still asks: nobody may review it for the moment, then the account is gone.
    let binding = cluster().get(&vault.reviewer);
    cluster().delete(&vault.reviewer);
    let asking = namespace.create(&app("asking"));
    wait(LIMIT, || {
        asking.log("podkey-init").contains("permission denied").then_some(())
    })
    .unwrap_or_else(|| panic!("{}", asking.story()));
    cluster().delete(&namespace.path("serviceaccounts/short-lived"));
    let (parent, _) = vault.reviewer.rsplit_once('/').unwrap();
    let again = json!({"metadata": {"name": binding["metadata"]["name"], "labels": binding["metadata"]["labels"]}});
    cluster().create(parent, &merge(merge(binding, &json!({"metadata": null})), &again));
    let sent = format!("service account short-lived in namespace {}", namespace.name);
    says(
        "deleted service account",
        &asking.refused(),
        77,
        &[&sent, "still exist"],
    );

    // Before its pod is made: the API server itself refuses, with podkey or without.
    let answer = namespace.try_create(&app("late"));
    println!("no service account: {}", answer.message());
    assert!(answer.message().contains("short-lived"), "{}", answer.message());
}

/// A copy of podkey's token from the node is worthless once the pod is gone.
#[test]
fn a_token_ends_with_its_pod() {
    let namespace = Namespace::new("pod-gone");
    let vault = Vault::new(&namespace);
    let pod = namespace.create(&pod("app", "trap 'exit 0' TERM; while :; do sleep 1; done"));
    let object = pod.running();
    let bound = json!({
        "audiences": ["vault"], "expirationSeconds": 600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": object["metadata"]["uid"]},
    });
    let token = namespace.token_of("default", &bound);
    let login = vault.login(ROLE, &token);
    assert!(login.is_success(), "{}", login.text);
    pod.delete();
    wait(LIMIT, || {
        (cluster().call("GET", &pod.path(), &Value::Null).status == 404).then_some(())
    })
    .unwrap_or_else(|| panic!("{}", pod.story()));
    // The API server remembers a good review for 10 s.
    wait(LIMIT, || {
        let login = vault.login(ROLE, &token);
        (login.status == 403 && login.text.contains("permission denied")).then_some(())
    })
    .unwrap_or_else(|| panic!("the token outlives its pod"));
}

#[test]
fn a_role_with_an_audience_does_not_take_the_job_s_own_token() {
    let namespace = Namespace::new("own-token");
    let vault = Vault::new(&namespace);
    let automounted = namespace.token("default", None);
    // Of a role without an audience docs/operate/config.md must warn.
    vault.role("no-audience", &json!({}));
    vault.admits("no-audience", &automounted);
    let login = vault.login(ROLE, &automounted);
    assert_eq!(login.status, 403, "{}", login.text);
}
