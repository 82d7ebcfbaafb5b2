//! Deliveries with real parts: scenario 1, the auth methods, and every engine and format.

use std::sync::OnceLock;

use base64::Engine as _;
use serde_json::json;

use crate::support::agent::Agent;
use crate::support::jwt::{API_AUDIENCE, Claims};
use crate::support::openbao::{ACCOUNT, JWT_MOUNT, NAMESPACE, OpenBao};

/// One server for all tests of this binary. It ends with the process.
pub(crate) fn bao() -> &'static OpenBao {
    static BAO: OnceLock<OpenBao> = OnceLock::new();
    BAO.get_or_init(|| {
        let bao = OpenBao::with_scenario_1();
        bao.write(
            "arc-runners/data/kubeconfig/rancher-cluster",
            &json!({"data": {"config": wrapped(KUBECONFIG)}}),
        );
        bao
    })
}

pub(crate) const KUBECONFIG: &[u8] =
    b"apiVersion: v1\nkind: Config\nclusters: []\n# canary-kubeconfig {{ .x }} $(HOME) $$\n\xc3\xa4\x00\xff\r\nend";

/// As coreutils' `base64` writes it: lines of 76 characters, a newline at the end.
pub(crate) fn wrapped(bytes: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    encoded
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap().to_owned() + "\n")
        .collect()
}

pub(crate) fn kubeconfig() -> serde_json::Value {
    json!({
        "secret": "arc-runners/data/kubeconfig/rancher-cluster", "key": "config", "decode": "base64",
        "format": "raw", "file": "/tmp/kubeconfig", "mode": "0400",
    })
}

#[test]
fn scenario_1_arrives_byte_for_byte() {
    let agent = Agent::for_bao(bao()).file(kubeconfig()).canary("canary-kubeconfig");
    agent.run().expect(0, &["delivered 1 file"]).stage("write");
    assert_eq!(agent.delivered("single/0"), KUBECONFIG);
    assert_eq!(agent.mode("single/0"), 0o400);
    assert_eq!(agent.mode("single"), 0o755);
    assert_eq!(agent.all_files(), ["single/0"]);
}

#[test]
fn a_role_without_an_audience_takes_a_token_for_the_api_server() {
    let mut agent = Agent::for_bao(bao())
        .file(kubeconfig())
        .with("/login/role", json!("actions"));
    agent.token(&bao().cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, API_AUDIENCE)));
    agent.run().expect(0, &[]);
}

#[test]
fn the_jwt_method_at_a_nested_mount_needs_no_review() {
    let agent = Agent::for_bao(bao()).file(kubeconfig()).with(
        "/login",
        json!({"method": "jwt", "mount": JWT_MOUNT, "role": "actions"}),
    );
    agent.run().expect(0, &[]);
    assert_eq!(agent.delivered("single/0"), KUBECONFIG);
}

#[test]
fn every_engine_and_format_in_one_run() {
    let bao = bao();
    bao.write("arc-runners/data/web", &json!({"data": {"USER": "old"}}));
    bao.write(
        "arc-runners/data/web",
        &json!({"data": {"USER": "it's {{ me }}", "PASSWORD": "canary-password $x\n"}}),
    );
    bao.write("kv1/db", &json!({"USER": "v1", "data": {"x": 1}}));
    let file = |secret: &str, more: serde_json::Value| {
        let mut file = json!({"secret": secret, "mode": "0440"});
        for (key, value) in more.as_object().unwrap() {
            file[key] = value.clone();
        }
        file
    };
    let agent = Agent::for_bao(bao)
        .canary("canary-password")
        .file(file(
            "arc-runners/data/web",
            json!({"format": "dotenv", "file": "web.env"}),
        ))
        .file(file(
            "arc-runners/data/web",
            json!({"format": "json", "file": "conf/web.json"}),
        ))
        .file(file(
            "arc-runners/data/web",
            json!({"format": "yaml", "file": "conf/web.yaml"}),
        ))
        .file(file(
            "arc-runners/data/web",
            json!({"format": "properties", "file": "conf/deep/web.properties"}),
        ))
        .file(file(
            "arc-runners/data/web",
            json!({"key": "USER", "version": 1, "format": "raw", "file": "/etc/user"}),
        ))
        .file(file("kv1/db", json!({"format": "json", "file": "db.json"})));
    agent.run().expect(0, &["delivered 6 files"]);
    for (place, text) in [
        (
            "files/web.env",
            "PASSWORD='canary-password $x\n'\nUSER='it'\\''s {{ me }}'\n",
        ),
        (
            "files/conf/web.json",
            "{\"PASSWORD\":\"canary-password $x\\n\",\"USER\":\"it's {{ me }}\"}",
        ),
        (
            "files/conf/web.yaml",
            "PASSWORD: \"canary-password $x\\n\"\nUSER: \"it's {{ me }}\"\n",
        ),
        (
            "files/conf/deep/web.properties",
            "PASSWORD=canary-password $x\\n\nUSER=it's {{ me }}\n",
        ),
        ("single/4", "old"),
        ("files/db.json", r#"{"USER":"v1","data":{"x":1}}"#),
    ] {
        assert_eq!(String::from_utf8(agent.delivered(place)).unwrap(), text, "{place}");
        assert_eq!(agent.mode(place), 0o440);
    }
    assert_eq!(agent.mode("files/conf/deep"), 0o755);
    // Again, over what the first run left.
    agent.run().expect(0, &["delivered 6 files"]);
}

#[test]
fn a_namespace_has_its_own_mounts_and_is_named_when_it_denies() {
    let bao = bao();
    bao.write("sys/namespaces/team-a", &json!({}));
    bao.write_in(
        "team-a",
        "sys/mounts/team",
        &json!({"type": "kv", "options": {"version": "2"}}),
    );
    bao.write_in("team-a", "team/data/x", &json!({"data": {"a": "in team-a"}}));
    bao.write_in(
        "team-a",
        "sys/policies/acl/team",
        &json!({"policy": "path \"team/data/*\" { capabilities = [\"read\"] }"}),
    );
    bao.enable_kubernetes("team-a", "k8s", &bao.cluster);
    bao.write_in(
        "team-a",
        "auth/k8s/role/web",
        &json!({"bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE], "audience": "vault", "token_policies": ["team"]}),
    );
    let agent = |namespace: &str| {
        Agent::for_bao(bao)
            .with("/login", json!({"method": "kubernetes", "mount": "k8s", "role": "web"}))
            .with("/connection/namespace", json!(namespace))
            .file(json!({"secret": "team/data/x", "key": "a", "format": "raw", "file": "a", "mode": "0400"}))
    };
    let good = agent("team-a");
    good.run().expect(0, &[]);
    assert_eq!(good.delivered("files/a"), b"in team-a");
    let run = agent("no-such-team").budget("3s").run();
    assert!([66, 77].contains(&run.code), "{}", run.stderr);
    run.expect(run.code, &["no-such-team"]);
    agent("team-a")
        .with("/files/0/secret", json!("team/data/gone"))
        .run()
        .expect(66, &["team-a"]);
}

#[test]
fn ignore_not_found_skips_a_path_but_not_a_field() {
    let bao = bao();
    bao.write("arc-runners/data/there", &json!({"data": {"a": "1"}}));
    bao.write("arc-runners/data/deleted", &json!({"data": {"a": "1"}}));
    bao.delete("arc-runners/data/deleted");
    let base = || {
        Agent::for_bao(bao)
            .with("/ignoreNotFound", json!(true))
            .file(json!({"secret": "arc-runners/data/there", "key": "a", "format": "raw", "file": "there", "mode": "0400"}))
            .file(json!({"secret": "arc-runners/data/not-there", "key": "a", "format": "raw", "file": "gone", "mode": "0400"}))
            .file(json!({"secret": "arc-runners/data/deleted", "format": "json", "file": "/tmp/gone", "mode": "0440"}))
    };
    let agent = base();
    let run = agent.run();
    run.expect(0, &["delivered 2 files"]);
    assert_eq!(agent.all_files(), ["files/there", "single/2"]);
    assert_eq!(
        (agent.delivered("single/2"), agent.mode("single/2")),
        (Vec::new(), 0o440)
    );
    assert!(
        run.stderr.contains("not-there") && run.stderr.contains("skipped"),
        "{}",
        run.stderr
    );
    let field = base().with("/files/0/key", json!("b"));
    field.run().expect(66, &["\"b\""]);
    assert!(field.all_files().is_empty());
}

#[test]
fn nothing_is_delivered_when_one_of_many_fails() {
    let bao = bao();
    bao.write("arc-runners/data/half", &json!({"data": {"a": "1", "b": "no base64!"}}));
    for index in 0..3 {
        for (bad, code) in [
            (json!({"key": "none"}), 66),
            (json!({"key": "b", "decode": "base64"}), 65),
            (json!({"secret": "arc-runners/data/absent"}), 66),
        ] {
            let mut agent = Agent::for_bao(bao);
            for n in 0..3 {
                let mut file = json!({"secret": "arc-runners/data/half", "key": "a", "format": "raw", "file": format!("f{n}"), "mode": "0400"});
                if n == index {
                    for (key, value) in bad.as_object().unwrap() {
                        file[key] = value.clone();
                    }
                }
                agent = agent.file(file);
            }
            agent.run().expect(code, &["arc-runners/data/"]);
            assert!(agent.all_files().is_empty());
        }
    }
}

#[test]
fn batch_tokens_and_tokens_with_one_use_work() {
    let mut batch = Agent::for_bao(bao())
        .file(kubeconfig())
        .with("/login/role", json!("batch"));
    batch.token(&bao().cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, API_AUDIENCE)));
    let run = batch.run();
    run.expect(0, &[]);
    assert!(
        !run.stderr.contains("revo"),
        "nothing to revoke, nothing to say: {}",
        run.stderr
    );
    let mut once = Agent::for_bao(bao())
        .file(kubeconfig())
        .with("/login/role", json!("once"));
    once.token(&bao().cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, API_AUDIENCE)));
    let run = once.run();
    run.expect(0, &[]);
    assert!(
        !run.stderr.contains("revo"),
        "its only use has ended it: {}",
        run.stderr
    );
}

#[test]
fn the_log_has_the_accessor_that_the_servers_audit_has() {
    let run = Agent::for_bao(bao()).file(kubeconfig()).run();
    run.expect(0, &[]);
    let logged_in: serde_json::Value = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|line| line["message"] == "logged in")
        .unwrap();
    let accessor = &logged_in["accessor"];
    let asked: Vec<_> = bao()
        .audit()
        .into_iter()
        .filter(|entry| entry["type"] == "request" && entry["auth"]["accessor"] == *accessor)
        .map(|entry| entry["request"]["path"].clone())
        .collect();
    assert_eq!(
        asked,
        ["arc-runners/data/kubeconfig/rancher-cluster", "auth/token/revoke-self"]
    );
    assert_eq!(logged_in["ttl_s"], 1200);
    assert!(
        logged_in["policies"].to_string().contains("arc-kubeconfig"),
        "{logged_in}"
    );
}
