//! Messages that say what to correct, from a real server where it can produce the case; and several problems of one pod in one
//! report.

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};
use crate::support::http::Request;
use crate::support::openbao::{MOUNT, OpenBao};

/// A role of its own, with this policy and more of the role's settings.
fn role(bao: &OpenBao, name: &str, policy: &str, more: Value) -> Agent {
    bao.write(&format!("sys/policies/acl/{name}"), &json!({ "policy": policy }));
    let mut role = json!({
        "bound_service_account_names": ["*"], "bound_service_account_namespaces": ["*"], "audience": "vault", "token_policies": [name],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        role[key] = value.clone();
    }
    bao.write(&format!("auth/{MOUNT}/role/{name}"), &role);
    Agent::for_bao(bao).with("/login/role", json!(name)).budget("3s")
}

fn whole(path: &str) -> Value {
    json!({"secret": path, "format": "json", "file": path.replace('/', "-"), "mode": "0400"})
}

fn key(path: &str, key: &str) -> Value {
    json!({"secret": path, "key": key, "format": "raw", "file": format!("{}-{key}", path.replace('/', "-")), "mode": "0400"})
}

#[test]
fn a_null_field_is_reported_as_null() {
    bao().write("arc-runners/data/null", &json!({"data": {"none": null, "some": "1"}}));
    let run = Agent::for_bao(bao()).file(key("arc-runners/data/null", "none")).run();
    run.expect(66, &["\"none\" is null", "give the field a value"])
        .stage("render");
    assert!(!run.termination.contains("has no field"), "{}", run.termination);
    let run = Agent::for_bao(bao()).file(key("arc-runners/data/null", "nome")).run();
    run.expect(66, &["has no field \"nome\"", "2 fields"]);
}

#[test]
fn a_version_of_a_secret_without_versions_is_refused() {
    bao().write("kv1/unversioned", &json!({"a": "1"}));
    let mut file = key("kv1/unversioned", "a");
    file["version"] = json!(1);
    let agent = Agent::for_bao(bao()).file(file);
    agent
        .run()
        .expect(66, &["there are no versions at kv1/unversioned", "leave `version` out"])
        .stage("read");
    assert!(agent.all_files().is_empty());
    // Nor is it skipped as if it were missing.
    agent.with("/ignoreNotFound", json!(true)).run().expect(66, &[]);
}

#[test]
fn a_missing_version_is_reported_with_the_newest_version() {
    for n in 0..3 {
        bao().write("arc-runners/data/three", &json!({"data": {"a": n.to_string()}}));
    }
    let mut file = key("arc-runners/data/three", "a");
    file["version"] = json!(9);
    let run = Agent::for_bao(bao()).file(file).run();
    run.expect(
        66,
        &["no version 9 at arc-runners/data/three", "the newest version is 3"],
    );
    assert!(!run.termination.contains("KV v1"), "{}", run.termination);
    let mut gone = key("arc-runners/data/never-written", "a");
    gone["version"] = json!(9);
    let run = Agent::for_bao(bao()).file(gone).run();
    run.expect(66, &["no version 9", "arc-runners/ has no such secret"]);
}

#[test]
fn a_kv_v2_path_without_data_is_reported_with_the_right_form_also_under_a_narrow_policy() {
    let bao = bao();
    let narrow = role(
        bao,
        "narrow",
        "path \"arc-runners/data/foo\" { capabilities = [\"read\"] }",
        Value::Null,
    );
    let run = narrow.file(whole("arc-runners/foo")).run();
    run.expect(
        77,
        &["may not read arc-runners/foo", "KV v2 engine", "arc-runners/data/foo"],
    )
    .stage("read");
    // And the other way round.
    let wide = role(bao, "wide", "path \"kv1/*\" { capabilities = [\"read\"] }", Value::Null);
    wide.file(whole("kv1/data/plain"))
        .run()
        .expect(66, &["KV v1 engine", "written kv1/plain"]);
    // Where nothing may be asked of the mount, the form is named as one that may be meant.
    let none = role(
        bao,
        "none",
        "path \"team/data/*\" { capabilities = [\"read\"] }",
        Value::Null,
    );
    none.file(whole("arc-runners/foo")).run().expect(
        77,
        &["if arc-runners/ is a KV v2 engine, the path is written arc-runners/data/foo"],
    );
}

#[test]
fn fields_that_a_policy_does_not_allow_have_another_report_than_a_missing_right() {
    let bao = bao();
    bao.write("sys/mounts/transit", &json!({"type": "transit"}));
    let with = |more: &str, name: &str, data: Value| {
        let policy = format!("path \"transit/random\" {{ capabilities = [\"update\"]\n{more} }}");
        let mut file = key("transit/random", "random_bytes");
        file["data"] = data;
        role(bao, name, &policy, Value::Null).file(file).run()
    };
    with("", "random", json!({"bytes": "8"})).expect(0, &[]);
    let told = [
        "not with these fields",
        "allowed_parameters",
        "denied_parameters",
        "required_parameters",
    ];
    for (name, more, data) in [
        (
            "allowed",
            "allowed_parameters = { \"format\" = [] }",
            json!({"bytes": "8"}),
        ),
        (
            "forbidden",
            "denied_parameters = { \"bytes\" = [] }",
            json!({"bytes": "8"}),
        ),
        ("required", "required_parameters = [\"format\"]", json!({"bytes": "8"})),
    ] {
        let run = with(more, name, data);
        run.expect(77, &told);
        assert!(!run.termination.contains("add `update`"), "{}", run.termination);
    }
    let mut file = key("transit/random", "random_bytes");
    file["data"] = json!({"bytes": "8"});
    role(
        bao,
        "cannot",
        "path \"arc-runners/*\" { capabilities = [\"read\"] }",
        Value::Null,
    )
    .file(file)
    .run()
    .expect(
        77,
        &["may not write transit/random", "add `update`", "allowed_parameters"],
    );
}

#[test]
fn several_problems_are_reported_together_and_nothing_is_delivered() {
    let bao = bao();
    bao.write(
        "arc-runners/data/there",
        &json!({"data": {"a": "canary-of-the-secret", "b": "not base64!"}}),
    );
    let mut agent = Agent::for_bao(bao).canary("canary-of-the-secret");
    let mut bad = key("arc-runners/data/there", "b");
    bad["decode"] = json!("base64");
    for file in [
        key("arc-runners/data/there", "a"),
        key("arc-runners/data/there", "gone"),
        whole("arc-runners/data/missing"),
        whole("sys/mounts"),
        bad,
    ] {
        agent = agent.file(file);
    }
    let run = agent.run();
    // The code with the most weight: a right is missing.
    run.expect(
        77,
        &[
            "4 problems: ",
            "no secret at arc-runners/data/missing",
            "may not read sys/mounts",
            "has no field \"gone\"",
            "not valid base64",
        ],
    )
    .stage("read");
    assert!(run.termination.contains("not valid base64"), "{}", run.termination);
    assert_eq!(
        run.stderr.matches("one of several problems").count(),
        4,
        "{}",
        run.stderr
    );
    assert!(agent.all_files().is_empty());
    assert!(run.stderr.contains("client token revoked"), "{}", run.stderr);
    // Without the reads that fail: those of rendering alone.
    let agent = Agent::for_bao(bao)
        .file(key("arc-runners/data/there", "gone"))
        .file(key("arc-runners/data/there", "A"));
    agent
        .run()
        .expect(66, &["2 problems: ", "\"gone\"", "\"A\""])
        .stage("render");
}

#[test]
fn many_problems_fit_into_the_termination_message() {
    let mut agent = Agent::for_bao(bao());
    for n in 0..40 {
        agent = agent.file(whole(&format!("arc-runners/data/missing-{n}")));
    }
    let run = agent.run();
    run.expect(66, &["40 problems: no secret at arc-runners/data/missing-0; ", " more"]);
    assert!(run.termination.contains("; and "), "{}", run.termination);
    assert_eq!(run.stderr.matches("one of several problems").count(), 40);
}

#[test]
fn every_path_is_read_once_if_others_fail_and_a_transient_failure_does_not_delay_the_report() {
    let fake = FakeVault::plain(logged_in(|request: &Request, _| {
        if request.target.contains("internal/ui") || request.target.contains("capabilities") {
            answer(403, r#"{"errors":["permission denied"]}"#)
        } else if request.target.ends_with("busy") {
            answer(500, r#"{"errors":["internal error"]}"#)
        } else if request.target.ends_with("there") {
            answer(200, &secret_body(r#"{"a":"1"}"#))
        } else {
            answer(404, r#"{"errors":[]}"#)
        }
    }));
    let mut agent = Agent::for_fake(&fake).with("/files", json!([])).budget("60s");
    for name in ["there", "gone-1", "busy", "gone-2"] {
        agent = agent.file(whole(&format!("kv/data/{name}")));
    }
    let run = agent.run();
    run.expect(66, &["2 problems: ", "gone-1", "gone-2", "not read because of them: 1"]);
    assert!(!run.termination.contains("internal error"), "{}", run.termination);
    for name in ["there", "gone-1", "busy", "gone-2"] {
        let asked = fake
            .requests()
            .iter()
            .filter(|r| r.target == format!("/v1/kv/data/{name}"))
            .count();
        assert_eq!(asked, 1, "{name}");
    }
    assert!(
        run.took < std::time::Duration::from_secs(30),
        "the budget was waited for: {:?}",
        run.took
    );
}

#[test]
fn an_unreachable_server_is_reported_once_for_all_paths() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(503, r#"{"errors":["Vault is sealed"]}"#)));
    let mut agent = Agent::for_fake(&fake).with("/files", json!([])).budget("1s");
    for n in 0..40 {
        agent = agent.file(whole(&format!("kv/data/{n}")));
    }
    let run = agent.run();
    run.expect(69, &["Vault is sealed"]);
    assert!(!run.termination.contains("problems"), "{}", run.termination);
    assert!(fake.requests().len() < 60, "{}", fake.requests().len());
}

#[test]
fn a_token_without_uses_left_is_reported_at_once() {
    // The server ends it with its last use: retries after an answer that was lost have used it up.
    let uses = std::sync::atomic::AtomicUsize::new(0);
    let fake = FakeVault::plain(move |request: &Request, _| {
        if request.target.ends_with("/login") {
            let login =
                crate::support::fake_vault::login_body().replace("\"renewable\"", "\"num_uses\":3,\"renewable\"");
            return answer(200, &login);
        }
        match uses.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0..3 => answer(500, r#"{"errors":["internal error"]}"#),
            _ => answer(403, r#"{"errors":["permission denied"]}"#),
        }
    });
    let run = Agent::for_fake(&fake).budget("20s").run();
    run.expect(
        77,
        &["no further try", "3 requests (token_num_uses)", "raise token_num_uses"],
    )
    .stage("read");
    assert!(!run.stderr.contains("could not be revoked"), "{}", run.stderr);
    let diagnosed = fake.requests().iter().any(|r| r.target.contains("internal/ui"));
    assert!(!diagnosed, "no use is spent on finding out more");
}
