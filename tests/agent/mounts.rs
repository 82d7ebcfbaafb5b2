//! Paths without the `data` of KV v2, and directories with mounts of their own, as vault-k8s has both.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, Reply, json as answer, logged_in, secret_body};
use crate::support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};

const NESTED: &str = "canary-of-the-nested-mount";
const OLD: &str = "canary-of-the-old-mount";
const INNER: &str = "canary-of-the-namespace";
/// The directory of vault-k8s' files below the root of the volume.
const VAULT: &str = "mounts/%2Fvault%2Fsecrets";

/// A server with KV v2 at `team/kv` and KV v1 at `old`, and a role that may read both; the same in the namespace `ns`.
fn bao() -> &'static OpenBao {
    static BAO: OnceLock<OpenBao> = OnceLock::new();
    BAO.get_or_init(|| {
        let bao = OpenBao::start();
        bao.write("sys/namespaces/ns", &json!({}));
        for namespace in ["", "ns"] {
            bao.enable_kubernetes(namespace, MOUNT, &bao.cluster);
            let v2 = json!({"type": "kv", "options": {"version": "2"}});
            bao.write_in(namespace, "sys/mounts/team/kv", &v2);
            bao.write_in(namespace, "sys/mounts/old", &json!({"type": "kv"}));
            let policy =
                "path \"team/kv/data/*\" { capabilities = [\"read\"] }\npath \"old/*\" { capabilities = [\"read\"] }";
            bao.write_in(namespace, "sys/policies/acl/apps", &json!({"policy": policy}));
            for (role, policies) in [("apps", json!(["apps"])), ("nothing", json!([]))] {
                let role_of = json!({
                    "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE],
                    "audience": "vault", "token_policies": policies, "token_ttl": "20m",
                });
                bao.write_in(namespace, &format!("auth/{MOUNT}/role/{role}"), &role_of);
            }
            bao.write_in(namespace, "old/app", &json!({"a": OLD}));
            // A new mount of KV v2 refuses for a moment.
            let nested = if namespace.is_empty() { NESTED } else { INNER };
            let body = json!({"data": {"a": nested}});
            while bao.call_in(namespace, "POST", "team/kv/data/app", &body).0 != 200 {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        bao
    })
}

fn agent() -> Agent {
    Agent::for_bao(bao())
        .with("/login/role", json!("apps"))
        .with("/mountLookup", json!({}))
        .canary(NESTED)
        .canary(OLD)
        .canary(INNER)
}

fn raw(path: &str, file: &str) -> Value {
    json!({"secret": path, "key": "a", "format": "raw", "file": file, "mode": "0444"})
}

fn text(agent: &Agent, place: &str) -> String {
    String::from_utf8(agent.delivered(place)).unwrap()
}

#[test]
fn a_path_without_data_is_read_from_kv_v2_below_any_mount_and_from_kv_v1_as_written() {
    let mut versioned = raw("team/kv/app", "versioned");
    versioned["version"] = json!(1);
    let agent = agent()
        .file(raw("team/kv/app", "short"))
        .file(raw("team/kv/data/app", "long"))
        .file(raw("old/app", "old"))
        .file(versioned)
        .file(json!({
            "template": "{{ with secret \"team/kv/app\" }}{{ .Data.data.a }}{{ .Data.metadata.version }}{{ end }}",
            "file": "template", "mode": "0444",
        }));
    agent.run().expect(0, &["delivered 5 files"]);
    for (place, expected) in [
        ("short", NESTED),
        ("long", NESTED),
        ("old", OLD),
        ("versioned", NESTED),
        ("template", &format!("{NESTED}1")),
    ] {
        assert_eq!(text(&agent, &format!("files/{place}")), expected, "{place}");
    }
}

#[test]
fn the_mount_of_a_path_in_a_namespace_is_looked_up_there() {
    let agent = agent()
        .with("/connection/namespace", json!("ns"))
        .file(raw("team/kv/app", "a"));
    agent.run().expect(0, &[]);
    assert_eq!(text(&agent, "files/a"), INNER);
}

#[test]
fn without_the_look_up_the_hint_still_says_how_the_path_is_written() {
    let mut agent = agent().file(raw("team/kv/app", "a"));
    agent.plan.as_object_mut().unwrap().remove("mountLookup");
    agent.run().expect(77, &["team/kv/data/app"]);
}

#[test]
fn a_form_that_the_operator_s_rule_does_not_allow_is_not_read() {
    for (path, allowed, refused) in [
        ("team/kv/app", "team/kv/app", "team/kv/data/app"),
        ("old/app", "old/data/app", "old/app"),
    ] {
        let agent = agent()
            .with("/mountLookup", json!({"allowed": [allowed]}))
            .file(raw(path, "a"));
        agent.run().expect(
            77,
            &[
                &format!("does not let this pod read {refused}"),
                "`secrets` of the rule",
            ],
        );
        assert!(agent.all_files().is_empty());
    }
    let agent = agent()
        .with("/mountLookup", json!({"allowed": ["team/kv/data/app"]}))
        .file(raw("team/kv/app", "a"));
    agent.run().expect(0, &[]);
}

#[test]
fn a_role_without_permission_in_the_mount_is_refused_with_the_path_as_written() {
    let agent = agent()
        .with("/login/role", json!("nothing"))
        .budget("3s")
        .file(raw("team/kv/app", "a"));
    agent.run().expect(77, &["team/kv/app", "permission denied"]);
}

/// A server whose look-ups answer so, and whose secrets are their own paths.
fn fake(look_up: impl Fn(usize) -> Reply + Send + Sync + 'static) -> FakeVault {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    FakeVault::plain(logged_in(move |request, _| {
        match request.target.contains("/sys/internal/ui/mounts/") {
            true => look_up(asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst)),
            false => answer(200, &secret_body(&json!({"a": request.target}).to_string())),
        }
    }))
}

fn mount(path: &str, version: &str) -> Reply {
    let data = json!({"path": path, "type": "kv", "options": {"version": version}});
    answer(200, &secret_body(&data.to_string()))
}

/// The targets of all requests but login and revocation.
fn targets(fake: &FakeVault) -> Vec<String> {
    let requests = fake.requests().into_iter().map(|request| request.target);
    requests.filter(|target| !target.contains("/auth/")).collect()
}

fn for_fake(fake: &FakeVault) -> Agent {
    Agent::for_fake(fake)
        .with("/mountLookup", json!({}))
        .with("/files", json!([]))
}

#[test]
fn each_mount_is_looked_up_once_and_a_written_path_never() {
    let fake = fake(|_| mount("kv/", "2"));
    let agent = for_fake(&fake)
        .file(raw("kv/one", "one"))
        .file(raw("kv/two", "two"))
        .file(json!({
            "secret": "pki/issue/web", "data": {"common_name": "x"}, "key": "a", "format": "raw", "file": "cert", "mode": "0444",
        }));
    agent.run().expect(0, &[]);
    assert_eq!(
        targets(&fake),
        [
            "/v1/sys/internal/ui/mounts/kv/one",
            "/v1/kv/data/one",
            "/v1/kv/data/two",
            "/v1/pki/issue/web"
        ]
    );
}

#[test]
fn a_look_up_without_an_answer_is_retried_and_a_refused_one_leaves_the_path_as_it_is() {
    let preflight = r#"{"errors":["preflight capability check returned 403, please ensure client's policies grant access to path \"kv/one/\""]}"#;
    type LookUp = fn(&str, usize) -> Reply;
    let cases: [(LookUp, &str); 5] = [
        (|_, _| mount("kv/", "1"), "/v1/kv/one"),
        (|_, _| answer(404, r#"{"errors":[]}"#), "/v1/kv/one"),
        (|preflight, _| answer(403, preflight), "/v1/kv/one"),
        (|_, _| answer(400, r#"{"errors":["unsupported path"]}"#), "/v1/kv/one"),
        (
            |_, asked| match asked {
                0 => answer(500, r#"{"errors":["internal error"]}"#),
                1 => answer(503, r#"{"errors":["Vault is sealed"]}"#),
                _ => mount("kv/", "2"),
            },
            "/v1/kv/data/one",
        ),
    ];
    for (look_up, read) in cases {
        let fake = fake(move |asked| look_up(preflight, asked));
        let agent = for_fake(&fake).budget("20s").file(raw("kv/one", "one"));
        agent.run().expect(0, &[]);
        assert_eq!(targets(&fake).last().map(String::as_str), Some(read));
    }
}

#[test]
fn an_answer_that_is_no_mount_of_the_path_ends_the_run_without_a_read() {
    type LookUp = fn() -> Reply;
    let cases: [(LookUp, i32, &str); 4] = [
        (|| mount("other/", "2"), 76, "the mount of another path"),
        (
            || answer(200, &secret_body("[]")),
            76,
            "the look-up of the mount of kv/one",
        ),
        (
            || answer(200, &secret_body(r#"{"path": ["kv/"]}"#)),
            76,
            "it describes no mount",
        ),
        (
            || answer(500, r#"{"errors":["internal error"]}"#),
            69,
            "the server cannot answer",
        ),
    ];
    for (look_up, code, why) in cases {
        let fake = fake(move |_| look_up());
        let agent = for_fake(&fake).budget("3s").file(raw("kv/one", "one"));
        agent.run().expect(code, &[why]);
        assert!(targets(&fake).iter().all(|target| target.contains("/ui/mounts/")));
        assert!(agent.all_files().is_empty());
    }
}

#[test]
fn a_directory_with_a_mount_of_its_own_has_real_files_where_nothing_is_refreshed() {
    let mut narrow = raw("old/app", "/vault/secrets:deep/old");
    narrow["mode"] = json!("0400");
    let agent = agent()
        .file(raw("team/kv/app", "/vault/secrets:app"))
        .file(narrow)
        .file(raw("team/kv/app", "/srv/100%:app"));
    agent.run().expect(0, &["delivered 3 files"]);
    let places = [
        format!("{VAULT}/app"),
        format!("{VAULT}/deep/old"),
        "mounts/%2Fsrv%2F100%25/app".to_owned(),
    ];
    let mut all = agent.all_files();
    all.sort();
    let mut expected = places.to_vec();
    expected.sort();
    assert_eq!(all, expected);
    for (place, mode) in places.iter().zip([0o444, 0o400, 0o444]) {
        assert!(fs::symlink_metadata(agent.volume().join(place)).unwrap().is_file());
        assert_eq!(agent.mode(place), mode, "{place}");
    }
}

#[test]
fn the_directory_of_a_skipped_secret_is_made_by_podkey_and_not_by_the_kubelet() {
    let agent = agent()
        .with("/ignoreNotFound", json!(true))
        .file(raw("old/missing", "/vault/secrets:app"));
    agent.run().expect(0, &[]);
    assert!(agent.volume().join(VAULT).is_dir());
}

#[test]
fn the_sidecar_refreshes_a_directory_with_a_mount_of_its_own_and_looks_the_mount_up_again() {
    let bao = bao();
    let write = |text: &str| bao.write("team/kv/data/fresh", &json!({"data": {"a": text}}));
    write("canary-of-the-first-content");
    let agent = agent()
        .canary("canary-of-the-first-content")
        .canary("canary-of-the-second-content")
        .file(raw("team/kv/fresh", "/vault/secrets:fresh"))
        .file(raw("team/kv/fresh", "fresh"))
        .with(
            "/refresh",
            json!({"interval": "5s", "onChange": ["touch:/vault/secrets:reload"]}),
        );
    agent.run().expect(0, &[]);
    let seen = || text(&agent, &format!("{VAULT}/fresh"));
    assert_eq!(seen(), "canary-of-the-first-content");
    let target = fs::read_link(agent.volume().join(VAULT).join("fresh")).unwrap();
    assert_eq!(target.to_str(), Some("..data/fresh"));

    let sidecar = agent.sidecar();
    write("canary-of-the-second-content");
    agent.until("the new content", |_| seen() == "canary-of-the-second-content");
    agent.until("the file beside it", |agent| {
        agent.text("fresh").as_deref() == Some("canary-of-the-second-content")
    });
    agent.until("the touched file", |agent| {
        agent.volume().join(VAULT).join("reload").is_file()
    });
    let status = || -> Value {
        let json = fs::read(agent.volume().join(VAULT).join(".status.json")).unwrap_or_default();
        serde_json::from_slice(&json).unwrap_or_default()
    };
    agent.until("the status", |_| status()["files"]["fresh"]["version"] == 2);
    assert_eq!(status()["files"].as_object().unwrap().len(), 1, "{}", status());
    assert_eq!(agent.status()["files"]["fresh"]["secret"], "team/kv/fresh");

    // A sidecar that the kubelet starts again has no handover, and knows the files from their status.
    sidecar.kill();
    let sidecar = agent.sidecar();
    write("canary-of-the-first-content");
    agent.until("the content of before", |_| seen() == "canary-of-the-first-content");
    sidecar.stop();
}

#[test]
fn the_sidecar_notices_that_a_mount_of_kv_v1_was_upgraded_to_kv_v2() {
    let bao = bao();
    bao.write("sys/mounts/grown", &json!({"type": "kv"}));
    let policy = "path \"grown/*\" { capabilities = [\"read\"] }";
    bao.write("sys/policies/acl/grown", &json!({"policy": policy}));
    let role = json!({
        "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE],
        "audience": "vault", "token_policies": ["grown"], "token_ttl": "20m",
    });
    bao.write(&format!("auth/{MOUNT}/role/grown"), &role);
    bao.write("grown/app", &json!({"a": "canary-of-version-one"}));
    let agent = agent()
        .with("/login/role", json!("grown"))
        .canary("canary-of-version-one")
        .canary("canary-of-version-two")
        .canary("canary-of-the-second-text")
        .file(raw("grown/app", "app"))
        .refresh("5s");
    agent.run().expect(0, &[]);
    assert_eq!(agent.text("app").as_deref(), Some("canary-of-version-one"));
    let sidecar = agent.sidecar();
    // The sidecar has looked up the mount before the upgrade.
    bao.write("grown/app", &json!({"a": "canary-of-the-second-text"}));
    agent.until("the second text", |agent| {
        agent.text("app").as_deref() == Some("canary-of-the-second-text")
    });
    bao.write("sys/mounts/grown/tune", &json!({"options": {"version": "2"}}));
    let body = json!({"data": {"a": "canary-of-version-two"}});
    while bao.call_in("", "POST", "grown/data/app", &body).0 != 200 {
        std::thread::sleep(Duration::from_millis(50));
    }
    agent.until("the new content", |agent| {
        agent.text("app").as_deref() == Some("canary-of-version-two")
    });
    sidecar.stop();
}
