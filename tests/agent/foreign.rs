//! Answers that do not come from the server: the agent looks at the form of an answer before its status. Answers of the real
//! server without JSON are still recognised.

use serde_json::json;

use crate::deliver::{bao, kubeconfig};
use crate::engines::{self, engines};
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, Reply, json as answer, logged_in, login_body, secret_body, with_headers};
use crate::support::http::Request;

const TEXT: &str = "Content-Type: text/plain\r\nServer: istio-envoy\r\n";
const HTML: &str = "Content-Type: text/html\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn web() -> Reply {
    answer(200, &secret_body(r#"{"a":"canary-secret"}"#))
}

/// Asks a server that answers so at the login, and one that answers so at the read.
fn both(reply: fn() -> Reply, check: impl Fn(&crate::support::agent::Ended, &FakeVault)) {
    for at_login in [true, false] {
        let fake = FakeVault::plain(move |request: &Request, n| match at_login {
            true => reply(),
            false => logged_in(move |_, _| reply())(request, n),
        });
        let agent = Agent::for_fake(&fake).canary("canary-secret").budget("3s");
        let run = agent.run();
        run.stage(if at_login { "login" } else { "read" });
        check(&run, &fake);
        assert!(agent.all_files().is_empty());
    }
}

#[test]
fn an_answer_of_a_mesh_or_an_ingress_is_not_taken_for_an_answer_of_the_server() {
    for (reply, words) in [
        (
            (|| with_headers(403, TEXT, "RBAC: access denied")) as fn() -> Reply,
            "status 403 (text/plain)",
        ),
        (
            || with_headers(404, HTML, "<html>default backend - 404</html>"),
            "status 404 (text/html)",
        ),
        (
            || with_headers(400, HTML, "<html>canary-secret</html>"),
            "status 400 (text/html)",
        ),
        (|| with_headers(401, HTML, ""), "status 401 (text/html)"),
        (|| with_headers(405, TEXT, ""), "status 405 (text/plain)"),
        (|| with_headers(412, TEXT, "x"), "status 412 (text/plain)"),
        (
            || with_headers(403, "Server: AkamaiGHost\r\n", ""),
            "status 403 (no content type)",
        ),
        (
            || with_headers(404, JSON, r#"{"message":"no Route matched with those values"}"#),
            "status 404 (application/json)",
        ),
        (
            || with_headers(403, JSON, r#"{"message":"forbidden"}"#),
            "status 403 (application/json)",
        ),
        (
            || with_headers(403, JSON, r#"{"errors":[{"code":7003,"message":"canary-secret"}]}"#),
            "status 403 (application/json)",
        ),
        (
            || with_headers(403, JSON, r#"{"kind":"Status","status":"Failure","code":403}"#),
            "status 403 (application/json)",
        ),
        (
            || with_headers(200, HTML, "<html>canary-secret</html>"),
            "status 200 (text/html)",
        ),
        (
            || with_headers(200, JSON, r#"{"message":"ok"}"#),
            "status 200 (application/json)",
        ),
        (|| with_headers(200, "", ""), "status 200 (no content type)"),
        // The server's own error may pass: the agent waits, and then reports the error as the server's.
        (
            || with_headers(500, HTML, "<html>oops</html>"),
            "status 500 (text/html)",
        ),
    ] {
        both(reply, |run, _| {
            run.expect(76, &["is not from Vault", words, "something "]);
        });
    }
}

#[test]
fn a_foreign_answer_is_final_after_one_request() {
    both(
        || with_headers(403, TEXT, "RBAC: access denied"),
        |run, fake| {
            assert!(!run.stderr.contains("trying again"), "{}", run.stderr);
            let logins_and_reads = fake
                .requests()
                .iter()
                .filter(|r| !r.target.contains("/auth/token/"))
                .count();
            assert!(logins_and_reads <= 2);
        },
    );
}

#[test]
fn a_gateway_that_does_not_reach_the_server_counts_as_an_unreachable_server() {
    for reply in [
        (|| with_headers(502, HTML, "<html>bad gateway</html>")) as fn() -> Reply,
        || with_headers(503, TEXT, "no healthy upstream"),
        || with_headers(504, HTML, "<html>timeout</html>"),
        || with_headers(521, HTML, "<html>web server is down</html>"),
    ] {
        both(reply, |run, _| {
            run.expect(69, &["cannot answer", "load balancer"]);
        });
        let fake = FakeVault::plain(logged_in(move |_, n| if n < 2 { reply() } else { web() }));
        Agent::for_fake(&fake).budget("10s").run().expect(0, &[]);
    }
}

#[test]
fn the_servers_own_answers_are_reported_as_such() {
    for (code, reply, text) in [
        (
            77,
            (|| answer(403, r#"{"errors":["permission denied"]}"#)) as fn() -> Reply,
            "permission denied",
        ),
        // By their shape, also where something on the way changed the content type.
        (
            77,
            || with_headers(403, TEXT, r#"{"errors":["permission denied"]}"#),
            "permission denied",
        ),
        (
            77,
            || with_headers(403, "", r#"{"errors":["permission denied"]}"#),
            "permission denied",
        ),
        (69, || answer(503, r#"{"errors":["Vault is sealed"]}"#), "sealed"),
        (69, || answer(473, ""), "this node"),
        (
            69,
            || answer(472, r#"{"initialized":true,"standby":true}"#),
            "this node",
        ),
        (
            69,
            || answer(412, r#"{"errors":["required index state not present"]}"#),
            "newest data",
        ),
        (
            75,
            || answer(429, r#"{"errors":["request path \"kv\": rate limit quota exceeded"]}"#),
            "rate",
        ),
        (
            77,
            || answer(413, r#"{"errors":["http: request body too large"]}"#),
            "too large",
        ),
        (77, || answer(400, r#"{"errors":[]}"#), "status 400"),
    ] {
        both(reply, |run, _| {
            run.expect(code, &[text]);
        });
    }
    let fake = FakeVault::plain(logged_in(|_, _| answer(404, r#"{"errors":[]}"#)));
    Agent::for_fake(&fake).run().expect(66, &["no secret at"]);
    let fake = FakeVault::plain(logged_in(|_, _| answer(204, "")));
    Agent::for_fake(&fake)
        .with("/files/0/secret", json!("transit/sign/web"))
        .with("/files/0/data", json!({"a": "b"}))
        .run()
        .expect(66, &["answered with no data"]);
}

#[test]
fn a_transient_answer_with_status_400_is_retried() {
    for text in [
        "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service shortly.",
        "Waiting for the primary to upgrade from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service when the primary is finished.",
        "path disabled in replication DR secondary mode",
        "Vault is in standby mode",
    ] {
        let said = json!({"errors": [text]}).to_string();
        let reply = said.clone();
        let fake = FakeVault::plain(logged_in(move |_, n| if n < 2 { answer(400, &reply) } else { web() }));
        let run = Agent::for_fake(&fake).budget("10s").run();
        run.expect(0, &[]);
        assert!(run.stderr.contains("trying again"), "{}", run.stderr);
        let reply = said.clone();
        let fake = FakeVault::plain(logged_in(move |_, _| answer(400, &reply)));
        Agent::for_fake(&fake)
            .budget("1s")
            .run()
            .expect(69, &[text.split('.').next().unwrap()]);
    }
    // The keys of the jwt method's issuer, at the login.
    let fake = FakeVault::plain(|request: &Request, n| match n {
        0 => answer(
            400,
            r#"{"errors":["error validating token: fetching keys oidc: get keys failed Get \"https://x/jwks\": dial tcp 10.0.0.1:443: connect: connection refused"]}"#,
        ),
        _ => logged_in(|_, _| web())(request, n),
    });
    Agent::for_fake(&fake).budget("10s").run().expect(0, &[]);
}

#[test]
fn a_read_is_retried_while_the_kv_engine_is_upgraded() {
    let bao = bao();
    bao.write(
        "sys/mounts/upgraded",
        &json!({"type": "kv", "options": {"version": "1"}}),
    );
    let large = "x".repeat(2000);
    for n in 0..400 {
        bao.write(&format!("upgraded/data/{n}"), &json!({"a": large}));
    }
    bao.write(
        "sys/policies/acl/upgraded",
        &json!({"policy": "path \"upgraded/*\" { capabilities = [\"read\"] }"}),
    );
    bao.write(
        &format!("auth/{}/role/upgraded", crate::support::openbao::MOUNT),
        &json!({"bound_service_account_names": ["*"], "bound_service_account_namespaces": ["*"], "audience": "vault", "token_policies": ["upgraded"]}),
    );
    bao.write("sys/mounts/upgraded/tune", &json!({"options": {"version": "2"}}));
    let run = Agent::for_bao(bao)
        .with("/login/role", json!("upgraded"))
        .file(json!({"secret": "upgraded/data/data/399", "key": "a", "format": "raw", "file": "a", "mode": "0400"}))
        .budget("60s")
        .run();
    // Whether the upgrade was still under way is the server's affair: it must not matter.
    run.expect(0, &[]);
}

#[test]
fn a_foreign_answer_to_a_revocation_does_not_count_as_revoked() {
    let fake = FakeVault::plain(|request: &Request, n| match request.target.ends_with("revoke-self") {
        true => with_headers(200, HTML, "<html>welcome</html>"),
        false => logged_in(|_, _| web())(request, n),
    });
    let run = Agent::for_fake(&fake).run();
    run.expect(0, &[]);
    assert!(
        run.stderr.contains("could not be revoked") && run.stderr.contains("status 200 (text/html)"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_login_that_needs_a_second_factor_is_reported_with_what_to_exempt() {
    let bao = bao();
    bao.enable_kubernetes("", "with-mfa", &bao.cluster);
    bao.write(
        "auth/with-mfa/role/actions",
        &json!({"bound_service_account_names": ["*"], "bound_service_account_namespaces": ["*"], "audience": "vault", "token_policies": ["arc-kubeconfig"]}),
    );
    let method = bao.write("identity/mfa/method/totp", &json!({"issuer": "podkey"}));
    let (_, mounts) = bao.call_in("", "GET", "sys/auth", &json!(null));
    bao.write(
        "identity/mfa/login-enforcement/people",
        &json!({
            "mfa_method_ids": [method["data"]["method_id"]],
            "auth_method_accessors": [mounts["data"]["with-mfa/"]["accessor"]],
        }),
    );
    let run = Agent::for_bao(bao)
        .file(kubeconfig())
        .with(
            "/login",
            json!({"method": "kubernetes", "mount": "with-mfa", "role": "actions"}),
        )
        .run();
    run.expect(77, &["second factor", "enforcement people", "login-enforcement"])
        .stage("login");
    assert!(!run.stderr.contains("trying again"), "{}", run.stderr);
}

#[test]
fn an_endpoint_that_answers_raw_is_reported_with_the_endpoint_that_answers_json() {
    let bao = &engines().bao;
    bao.write(
        "sys/policies/acl/raw",
        &json!({"policy": "path \"pki/*\" { capabilities = [\"read\"] }\npath \"ssh/*\" { capabilities = [\"read\"] }"}),
    );
    bao.write(
        &format!("auth/{}/role/raw", crate::support::openbao::MOUNT),
        &json!({"bound_service_account_names": ["*"], "bound_service_account_namespaces": ["*"], "audience": "vault", "token_policies": ["raw"]}),
    );
    let read = |path: &str, key: &str| {
        engines::agent()
            .with("/login/role", json!("raw"))
            .file(json!({"secret": path, "key": key, "format": "raw", "file": "f", "mode": "0400"}))
            .run()
    };
    for (raw, instead, key) in [
        ("pki/ca/pem", "pki/cert/ca", "certificate"),
        ("pki/ca", "pki/cert/ca", "certificate"),
        ("pki/ca_chain", "pki/cert/ca_chain", "certificate"),
        ("pki/crl/pem", "pki/cert/crl", "certificate"),
        ("pki/cert/ca/raw/pem", "pki/cert/ca", "certificate"),
        ("pki/issuer/default/pem", "pki/issuer/default/json", "certificate"),
        ("pki/issuer/default/crl/pem", "pki/issuer/default/crl", "crl"),
        ("ssh/public_key", "ssh/config/ca", "public_key"),
    ] {
        let hint = format!("read {instead} instead, with the key `{key}`");
        read(raw, "x").expect(76, &[raw, "answers raw", &hint]).stage("read");
        // And that is true.
        read(instead, key).expect(0, &[]);
    }
}

#[test]
fn a_port_that_wants_tls_is_reported_also_behind_a_proxy() {
    let go = "Client sent an HTTP request to an HTTPS server.\n";
    both(
        || with_headers(400, TEXT, "Client sent an HTTP request to an HTTPS server.\n"),
        |run, _| {
            run.expect(78, &["speaks TLS", "https://"]);
        },
    );
    let ca = crate::support::ca::Ca::new("balancer");
    let fake = FakeVault::tls(ca.leaf(&["127.0.0.1"]).server_config(), move |_, _| {
        with_headers(400, TEXT, go)
    });
    Agent::for_fake(&fake)
        .with("/connection/ca", json!(ca.pem()))
        .run()
        .expect(76, &["load balancer that speaks clear text"]);
}

#[test]
fn a_login_answer_with_another_shape_is_refused() {
    let fake = FakeVault::plain(|request: &Request, n| match request.target.ends_with("/login") {
        true => with_headers(200, JSON, &login_body().replace("auth", "user")),
        false => logged_in(|_, _| web())(request, n),
    });
    Agent::for_fake(&fake)
        .run()
        .expect(76, &["no auth block", "status 200 (application/json)"])
        .stage("login");
}
