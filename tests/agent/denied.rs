//! Refusals of a real server, and what the agent reports about them.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::deliver::{bao, kubeconfig};
use crate::process::wait_for;
use crate::support::agent::Agent;
use crate::support::jwt::{API_AUDIENCE, Claims, Cluster};
use crate::support::openbao::{ACCOUNT, JWT_MOUNT, MOUNT, NAMESPACE};

fn with_claims(claims: &Claims) -> Agent {
    let mut agent = Agent::for_bao(bao()).file(kubeconfig());
    agent.token(&bao().cluster.sign(claims));
    agent
}

#[test]
fn a_missing_role_is_named_with_its_mount_at_once() {
    let run = with_claims(&Claims::new(NAMESPACE, ACCOUNT, "vault"))
        .with("/login/role", json!("nope"))
        .budget("60s")
        .run();
    run.expect(77, &["nope", MOUNT]).stage("login");
    assert!(!run.stderr.contains("trying again"), "{}", run.stderr);
}

#[test]
fn a_refused_service_account_namespace_or_audience_is_reported_with_what_was_sent() {
    for (claims, said, sent) in [
        (
            Claims::new(NAMESPACE, "other-account", "vault"),
            "service account name not authorized",
            "other-account",
        ),
        (Claims::new("other-ns", ACCOUNT, "vault"), "not authorized", "other-ns"),
        (Claims::new(NAMESPACE, ACCOUNT, API_AUDIENCE), "audience", API_AUDIENCE),
    ] {
        // The budget ends the retry after two seconds early.
        let run = with_claims(&claims).budget("1s").run();
        run.expect(77, &[said, sent]).stage("login");
    }
}

#[test]
fn a_bare_denial_comes_with_a_checklist() {
    let run = with_claims(&Claims::new(NAMESPACE, ACCOUNT, "vault"))
        .with("/login/mount", json!("no-such-mount"))
        .budget("3s")
        .run();
    run.expect(
        77,
        &[
            "permission denied",
            "system:auth-delegator",
            "cannot review itself",
            "audience vault",
        ],
    );
}

#[test]
fn the_agent_waits_for_a_token_reviewer_that_is_away_for_a_moment() {
    let cluster = Cluster::start();
    bao().enable_kubernetes("", "flaky", &cluster);
    bao().write(
        "auth/flaky/role/actions",
        &json!({"bound_service_account_names": ["*"], "bound_service_account_namespaces": [NAMESPACE], "token_policies": ["arc-kubeconfig"]}),
    );
    cluster.broken.store(true, Ordering::SeqCst);
    let mut agent = Agent::for_bao(bao()).file(kubeconfig()).with(
        "/login",
        json!({"method": "kubernetes", "mount": "flaky", "role": "actions"}),
    );
    agent.token(&cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, API_AUDIENCE)));
    let child = agent.spawn();
    wait_for(|| {
        let mut asked = bao().audit().into_iter();
        asked.any(|line| line["type"] == "response" && line["request"]["path"] == "auth/flaky/login")
    });
    cluster.broken.store(false, Ordering::SeqCst);
    let run = agent.check(child.wait_with_output().unwrap(), Duration::ZERO);
    run.expect(0, &[]);
    assert!(run.stderr.contains("permission denied"), "{}", run.stderr);
}

#[test]
fn the_jwt_methods_errors_are_explained() {
    let jwt = |role: &str, claims: &Claims| {
        with_claims(claims).with("/login", json!({"method": "jwt", "mount": JWT_MOUNT, "role": role}))
    };
    let good = Claims::new(NAMESPACE, ACCOUNT, "vault");
    jwt("no-audience", &good).run().expect(
        77,
        &["no audiences bound to the role", "bound_audiences", "audience vault"],
    );
    jwt("nope", &good).run().expect(77, &["nope", JWT_MOUNT]);
    jwt("actions", &Claims::new(NAMESPACE, ACCOUNT, "other"))
        .run()
        .expect(77, &["audience other"]);
    let run = jwt(
        "actions",
        &Claims {
            lifetime: -3600,
            ..good.clone()
        },
    )
    .run();
    run.expect(77, &["expired", "local clock", "clocks"]);
    assert!(run.stderr.contains("local_time"), "{}", run.stderr);
    let mut stranger = jwt("actions", &good);
    stranger.token(&Cluster::start().sign(&good));
    stranger.run().expect(77, &["jwt_validation_pubkeys"]);
}

#[test]
fn a_path_without_a_right_names_path_and_role() {
    let run = Agent::for_bao(bao())
        .file(json!({"secret": "sys/mounts", "format": "json", "file": "m", "mode": "0400"}))
        .budget("3s")
        .run();
    run.expect(77, &["sys/mounts", "actions-vault"]).stage("read");
}

#[test]
fn missing_engines_paths_versions_and_fields_have_different_reports() {
    let bao = bao();
    bao.write("arc-runners/data/versions", &json!({"data": {"a": "1"}}));
    bao.write("arc-runners/data/versions", &json!({"data": {"a": "2"}}));
    bao.write("arc-runners/data/versions", &json!({"data": {"a": "3"}}));
    bao.write("arc-runners/delete/versions", &json!({"versions": [2]}));
    bao.write("arc-runners/destroy/versions", &json!({"versions": [1]}));
    bao.write("kv1/plain", &json!({"a": "1"}));
    let read = |file: serde_json::Value| {
        let mut file = file;
        for (field, value) in [("format", json!("json")), ("file", json!("f")), ("mode", json!("0400"))] {
            file[field] = value;
        }
        Agent::for_bao(bao).file(file).run()
    };
    for (file, texts) in [
        (
            json!({"secret": "arc-runners/data/gone"}),
            &["no secret at arc-runners/data/gone"][..],
        ),
        (
            json!({"secret": "arc-runners/data/versions", "version": 9}),
            &["no version 9"],
        ),
        (
            json!({"secret": "arc-runners/data/versions", "version": 2}),
            &["version 2", "deleted at 20", "undelete"],
        ),
        (
            json!({"secret": "arc-runners/data/versions", "version": 1}),
            &["version 1", "destroyed"],
        ),
        (
            json!({"secret": "kv1/data/plain"}),
            &["no secret at kv1/data/plain", "KV v1", "kv1/plain"],
        ),
        (json!({"secret": "kv1/gone"}), &["no secret at kv1/gone"]),
        (
            json!({"secret": "arc-runners/data/versions", "key": "A"}),
            &["\"A\"", "1 field", "\"a\""],
        ),
    ] {
        read(file).expect(66, texts);
    }
    // The policy has to let it through for the server to see what kind of engine it is.
    bao.write(
        "sys/policies/acl/any",
        &json!({"policy": "path \"arc-runners/*\" { capabilities = [\"read\"] }"}),
    );
    bao.write(
        &format!("auth/{MOUNT}/role/any"),
        &json!({"bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE], "audience": "vault", "token_policies": ["any"]}),
    );
    Agent::for_bao(bao)
        .with("/login/role", json!("any"))
        .file(json!({"secret": "arc-runners/versions", "format": "json", "file": "f", "mode": "0400"}))
        .run()
        .expect(66, &["no secret at arc-runners/versions", "<mount>/data/<secret>"]);
}

#[test]
fn the_agent_waits_for_a_late_token_file_and_reports_a_file_without_a_token() {
    let late = Agent::for_bao(bao()).file(kubeconfig());
    let path = late.root().join("podkey/token/token");
    let token = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let child = late.spawn();
    sleep(Duration::from_millis(400));
    std::fs::write(&path, &token).unwrap();
    late.check(child.wait_with_output().unwrap(), Duration::ZERO)
        .expect(0, &[]);

    std::fs::write(&path, [token.as_slice(), b"\n"].concat()).unwrap();
    late.run().expect(0, &[]);

    let mut newline_inside = b"canary-token\r\nX: y".to_vec();
    newline_inside.push(b'\n');
    for (content, text) in [
        (Some(Vec::new()), "is empty"),
        (Some(b"\n\n".to_vec()), "is empty"),
        (Some(newline_inside), "is not a token"),
        (Some("k\u{e4}se".as_bytes().to_vec()), "is not a token"),
        (Some(b"\xff\xfe".to_vec()), "is not a token"),
        (Some(vec![b'x'; 70_000]), "64 KiB"),
        (None, "there is no service-account token"),
    ] {
        let _ = std::fs::remove_file(&path);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let agent = Agent::for_bao(bao()).file(kubeconfig()).canary("canary-token");
        let other = agent.root().join("podkey/token/token");
        std::fs::remove_file(&other).unwrap();
        if path.exists() {
            std::fs::copy(&path, &other).unwrap();
        }
        agent
            .budget("300ms")
            .run()
            .expect(64, &[text, "podkey-token"])
            .stage("login");
    }
}
