//! Inline authentication against a real OpenBao: each read carries its login, no client token is made, and every refusal is told
//! as with a client token.

use serde_json::{Value, json};

use crate::deliver::{KUBECONFIG, kubeconfig};
use crate::engines::said;
use crate::support::agent::{Agent, Ended};
use crate::support::jwt::{API_AUDIENCE, Claims};
use crate::support::openbao::{ACCOUNT, JWT_MOUNT, MOUNT, NAMESPACE, OpenBao};

/// A server of this test's own, so that the test can count tokens and requests.
pub(crate) fn server() -> OpenBao {
    let bao = OpenBao::with_scenario_1();
    bao.write(
        "arc-runners/data/kubeconfig/rancher-cluster",
        &json!({"data": {"config": crate::deliver::wrapped(KUBECONFIG)}}),
    );
    bao
}

pub(crate) fn inline(bao: &OpenBao) -> Agent {
    Agent::for_bao(bao).with("/login/inline", json!(true))
}

fn file(secret: &str, name: &str) -> Value {
    json!({"secret": secret, "format": "json", "file": name, "mode": "0440"})
}

/// The paths of the requests that the server answered, in their order. `skip` is the number of audit lines before.
pub(crate) fn asked(bao: &OpenBao, skip: usize) -> Vec<String> {
    let lines = bao.audit().into_iter().skip(skip);
    let answers = lines.filter(|line| line["type"] == "response");
    let paths = answers.map(|line| line["request"]["path"].as_str().unwrap_or_default().to_owned());
    // These are of the tests.
    paths
        .filter(|path| !path.starts_with("sys/") && !path.starts_with("auth/token/accessors"))
        .collect()
}

#[test]
fn a_pod_of_one_file_is_one_request_and_no_token() {
    let bao = server();
    let (tokens, skip) = (bao.tokens(), bao.audit().len());
    for login in [
        json!({"method": "kubernetes", "mount": MOUNT, "role": "actions-vault", "inline": true}),
        json!({"method": "jwt", "mount": JWT_MOUNT, "role": "actions", "inline": true}),
    ] {
        let agent = Agent::for_bao(&bao)
            .file(kubeconfig())
            .with("/login", login)
            .canary("canary-kubeconfig");
        let run = agent.run();
        run.expect(0, &["delivered 1 file"]).stage("write");
        assert_eq!(agent.delivered("single/0"), KUBECONFIG);
        let id = &said(&run, "read without a client token")[0]["request_id"];
        let audit = bao.audit();
        let read = audit
            .iter()
            .find(|line| line["request"]["id"] == *id && line["type"] == "response");
        let read = read.unwrap();
        assert_eq!(read["request"]["path"], "arc-runners/data/kubeconfig/rancher-cluster");
        assert_eq!(read["auth"]["metadata"]["role"], agent.plan["login"]["role"], "{read}");
        assert!(said(&run, "logged in").is_empty());
    }
    let secret = "arc-runners/data/kubeconfig/rancher-cluster";
    let mount = |mount: &str| format!("auth/{mount}/login");
    assert_eq!(asked(&bao, skip), [&mount(MOUNT), secret, &mount(JWT_MOUNT), secret]);
    assert_eq!(bao.tokens(), tokens);
}

#[test]
fn the_paths_of_a_pod_are_read_once_each_from_both_versions_of_kv() {
    let bao = server();
    bao.write("arc-runners/data/web", &json!({"data": {"USER": "old"}}));
    bao.write("arc-runners/data/web", &json!({"data": {"USER": "new"}}));
    bao.write("kv1/db", &json!({"PASSWORD": "canary-of-kv1"}));
    let (tokens, skip) = (bao.tokens(), bao.audit().len());
    let agent = inline(&bao)
        .canary("canary-of-kv1")
        .file(file("arc-runners/data/web", "a"))
        .file(json!({"secret": "arc-runners/data/web", "key": "USER", "format": "raw", "file": "b", "mode": "0440"}))
        .file(json!({"secret": "arc-runners/data/web", "version": 1, "format": "json", "file": "c", "mode": "0440"}))
        .file(json!({
            "file": "d", "mode": "0440",
            "template": "{{ with secret \"kv1/db\" }}{{ .Data.PASSWORD }}{{ end }} {{ with secret \"arc-runners/data/web\" }}{{ .Data.data.USER }}{{ end }}",
        }))
        .file(file("arc-runners/data/absent", "e"))
        .with("/ignoreNotFound", json!(true));
    agent.run().expect(0, &["delivered 4 files"]);
    let text = |name: &str| String::from_utf8(agent.delivered(&format!("files/{name}"))).unwrap();
    assert_eq!(
        [text("a"), text("b"), text("c")],
        [r#"{"USER":"new"}"#, "new", r#"{"USER":"old"}"#]
    );
    assert_eq!(text("d"), "canary-of-kv1 new");
    // One login for each of the four reads.
    let asked = asked(&bao, skip);
    assert_eq!(asked.len(), 8, "{asked:?}");
    assert_eq!(bao.tokens(), tokens);
}

#[test]
fn a_namespace_has_its_own_auth_mount_and_secrets() {
    let bao = server();
    bao.write("sys/namespaces/team-a", &json!({}));
    bao.write_in(
        "team-a",
        "sys/mounts/team",
        &json!({"type": "kv", "options": {"version": "2"}}),
    );
    bao.write_in("team-a", "team/data/web", &json!({"data": {"a": "b"}}));
    bao.write_in(
        "team-a",
        "sys/policies/acl/read",
        &json!({"policy": "path \"team/data/*\" { capabilities = [\"read\"] }"}),
    );
    bao.enable_kubernetes("team-a", MOUNT, &bao.cluster);
    bao.write_in(
        "team-a",
        &format!("auth/{MOUNT}/role/actions-vault"),
        &json!({"bound_service_account_names": ["*"], "bound_service_account_namespaces": ["*"], "token_policies": ["read"], "audience": "vault"}),
    );
    let agent = inline(&bao)
        .file(file("team/data/web", "a"))
        .with("/connection/namespace", json!("team-a"));
    agent.run().expect(0, &[]);
    assert_eq!(agent.delivered("files/a"), br#"{"a":"b"}"#);
    agent
        .with("/connection/namespace", json!("team-b"))
        .budget("3s")
        .run()
        .expect(66, &["namespace not found", "(namespace team-b)"])
        .stage("login");
}

/// A run with a session and one with inline authentication, which must be told alike.
struct Told {
    session: Ended,
    inline: Ended,
}

fn both(agent: impl Fn() -> Agent) -> Told {
    Told {
        session: agent().run(),
        inline: agent().with("/login/inline", json!(true)).run(),
    }
}

impl Told {
    /// Same exit code, stage and message. `hint`: also the same hint.
    fn alike(&self, case: &str, hint: bool) {
        for key in ["code", "stage", "message", "hint"] {
            // "expired … 1h 30s ago", and a second later 31s
            let told = |ended: &Ended| ended.report[key].to_string().replace(|c: char| c.is_ascii_digit(), "");
            if key != "hint" || hint {
                assert_eq!(
                    told(&self.inline),
                    told(&self.session),
                    "{case}: {}",
                    self.inline.stderr
                );
            }
        }
        assert!(
            said(&self.inline, "logged in").is_empty(),
            "{case}: a refusal is no reason for a session"
        );
    }
}

#[test]
fn a_refused_login_is_told_as_without_inline_authentication() {
    let bao = server();
    bao.write(
        &format!("auth/{JWT_MOUNT}/role/elsewhere"),
        &json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_bound_cidrs": ["10.9.8.7/32"]}),
    );
    let good = Claims::new(NAMESPACE, ACCOUNT, "vault");
    let kubernetes = |role: &str| json!({"method": "kubernetes", "mount": MOUNT, "role": role});
    let jwt = |role: &str| json!({"method": "jwt", "mount": JWT_MOUNT, "role": role});
    let expired = Claims {
        // Half a minute more than an hour: a hint that says "1h ago" would say "1h 1s ago" in a later run.
        lifetime: -3630,
        ..good.clone()
    };
    let cases = [
        ("no such role", kubernetes("nope"), good.clone()),
        (
            "another account",
            kubernetes("actions-vault"),
            Claims::new(NAMESPACE, "other", "vault"),
        ),
        (
            "another namespace",
            kubernetes("actions-vault"),
            Claims::new("other", ACCOUNT, "vault"),
        ),
        (
            "another audience",
            kubernetes("actions-vault"),
            Claims::new(NAMESPACE, ACCOUNT, API_AUDIENCE),
        ),
        ("expired", kubernetes("actions-vault"), expired.clone()),
        (
            "no such mount",
            json!({"method": "kubernetes", "mount": "nope", "role": "a"}),
            good.clone(),
        ),
        ("jwt, no such role", jwt("nope"), good.clone()),
        (
            "jwt, another audience",
            jwt("actions"),
            Claims::new(NAMESPACE, ACCOUNT, "other"),
        ),
        ("jwt, no audience", jwt("no-audience"), good.clone()),
        ("jwt, expired", jwt("actions"), expired),
        (
            "jwt, another subject",
            jwt("actions"),
            Claims::new(NAMESPACE, "other", "vault"),
        ),
        ("jwt, CIDR", jwt("elsewhere"), good),
    ];
    for (case, login, claims) in cases {
        let token = bao.cluster.sign(&claims);
        let told = both(|| {
            let mut agent = Agent::for_bao(&bao)
                .file(kubeconfig())
                .with("/login", login.clone())
                .budget("3s");
            agent.token(&token);
            agent
        });
        told.inline.expect(77, &[]).stage("login");
        told.alike(case, true);
    }
}

#[test]
fn a_login_that_needs_a_second_factor_is_told_so() {
    let bao = server();
    bao.write(
        "identity/mfa/method/totp",
        &json!({"issuer": "x", "generate": true, "period": 30, "key_size": 20, "qr_size": 0}),
    );
    let (_, methods) = bao.call_in("", "LIST", "identity/mfa/method/totp", &Value::Null);
    let (_, mounts) = bao.call_in("", "GET", "sys/auth", &Value::Null);
    bao.write(
        "identity/mfa/login-enforcement/all",
        &json!({
            "mfa_method_ids": [methods["data"]["keys"][0]],
            "auth_method_accessors": [mounts["data"][format!("{MOUNT}/")]["accessor"]],
        }),
    );
    let told = both(|| Agent::for_bao(&bao).file(kubeconfig()));
    told.session.expect(77, &["needs a second factor"]).stage("login");
    told.inline
        .expect(77, &["needs a second factor", "login MFA"])
        .stage("login");
    assert_eq!(told.inline.report["hint"], told.session.report["hint"]);
    assert!(!told.inline.stderr.contains("trying again"), "{}", told.inline.stderr);
}

#[test]
fn a_refused_read_is_told_as_without_inline_authentication() {
    let bao = server();
    bao.write("arc-runners/data/gone", &json!({"data": {"a": "b"}}));
    bao.delete("arc-runners/data/gone");
    bao.write("kv1/db", &json!({"a": "b"}));
    for (case, secret, code, hint) in [
        ("absent", json!({"secret": "arc-runners/data/absent"}), 66, false),
        ("deleted", json!({"secret": "arc-runners/data/gone"}), 66, true),
        (
            "no version",
            json!({"secret": "arc-runners/data/kubeconfig/rancher-cluster", "version": 9}),
            66,
            false,
        ),
        (
            "KV v1 has no versions",
            json!({"secret": "kv1/db", "version": 1}),
            66,
            true,
        ),
        ("KV v2 without data", json!({"secret": "arc-runners/web"}), 77, false),
        ("no policy", json!({"secret": "other/data/web"}), 77, false),
        ("KV v1, absent", json!({"secret": "kv1/absent"}), 66, false),
        (
            "a key that is absent",
            json!({"secret": "kv1/db", "key": "nope"}),
            66,
            true,
        ),
    ] {
        let told = both(|| {
            let mut file = file("x", "a");
            if secret["key"].is_string() {
                file["format"] = json!("raw");
            }
            file.as_object_mut()
                .unwrap()
                .extend(secret.as_object().unwrap().clone());
            // With a token, a refused read is tried again for five seconds: other nodes may not know the token.
            Agent::for_bao(&bao).file(file).budget("3s")
        });
        println!("{case}\n  {}\n  {}", told.session.report, told.inline.report);
        told.inline.expect(code, &[]);
        told.alike(case, hint);
        assert!(
            !told.inline.stderr.contains("trying again"),
            "{case}: {}",
            told.inline.stderr
        );
    }
}

#[test]
fn all_failures_of_a_pod_are_told_together() {
    let bao = server();
    let agent = inline(&bao)
        .file(file("arc-runners/data/absent", "a"))
        .file(file("other/data/web", "b"))
        .file(kubeconfig());
    agent
        .run()
        .expect(77, &["arc-runners/data/absent", "may not read other/data/web"])
        .stage("read");
    assert!(agent.all_files().is_empty());
}
