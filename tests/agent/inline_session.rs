//! Where inline authentication cannot serve, the agent logs in, reads and revokes, says why once, and wastes at most one request.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::deliver::{bao as shared, kubeconfig};
use crate::engines::{self, engines, said};
use crate::inline::{asked, inline, server};
use crate::support::agent::{Agent, Ended, FAKE_JWT};
use crate::support::fake_vault::{FakeVault, Reply, json as answer, logged_in, secret_body, with_headers};
use crate::support::http::{self, Request};
use crate::support::jwt::Claims;
use crate::support::openbao::{ACCOUNT, MOUNT, NAMESPACE, OpenBao};

const SAYS: &str = "inline authentication does not serve";

fn fake(fake: &FakeVault) -> Agent {
    Agent::for_fake(fake).with("/login/inline", json!(true))
}

fn is_inline(request: &Request) -> bool {
    request.header("x-vault-inline-auth-path").is_some()
}

#[track_caller]
fn says_once(run: &Ended, why: &str) {
    let said = said(run, SAYS);
    assert_eq!(said.len(), 1, "{}", run.stderr);
    assert!(said[0]["why"].as_str().unwrap().contains(why), "{}", said[0]);
}

/// The texts of Vault for a request without a token: `fetchACLTokenEntryAndEntity` in its `vault/request_handling.go`, until 1.3 and
/// from then on. OpenBao before 2.4 has the second.
#[test]
fn a_server_that_knows_no_inline_authentication_costs_one_request_more() {
    for (status, error) in [(400, "missing client token"), (403, "permission denied")] {
        let vault = FakeVault::plain(logged_in(move |request, _| match request.header("x-vault-token") {
            None => answer(status, &json!({"errors": [error]}).to_string()),
            Some(_) => answer(200, &secret_body(r#"{"a":"canary-of-the-secret"}"#)),
        }));
        let agent = fake(&vault)
            .file(json!({"secret": "kv/data/more", "key": "a", "format": "raw", "file": "b", "mode": "0444"}))
            .canary("canary-of-the-secret");
        let run = agent.run();
        run.expect(0, &["delivered 2 files"]);
        says_once(&run, "knows no inline authentication");
        let targets: Vec<_> = vault.requests().iter().map(|request| request.target.clone()).collect();
        assert_eq!(
            targets,
            [
                "/v1/kv/data/web",
                "/v1/auth/kubernetes/login",
                "/v1/kv/data/web",
                "/v1/kv/data/more",
                "/v1/auth/token/revoke-self"
            ]
        );
        assert_eq!(vault.connections(), 1);
    }
}

#[test]
fn a_proxy_that_refuses_long_headers_is_no_end_of_the_run() {
    for status in [400, 413, 431] {
        let vault = FakeVault::plain(logged_in(move |request, _| match is_inline(request) {
            true => with_headers(
                status,
                "Content-Type: text/html\r\n",
                "<h1>Request Header Or Cookie Too Large</h1>",
            ),
            false => answer(200, &secret_body(r#"{"a":"b"}"#)),
        }));
        let run = fake(&vault).run();
        run.expect(0, &[]);
        says_once(&run, "the length of its headers");
        assert_eq!(vault.requests().len(), 4);
    }
}

#[test]
fn clear_text_to_a_tls_port_is_no_reason_for_a_session() {
    let text = "Client sent an HTTP request to an HTTPS server.\n";
    let vault = FakeVault::plain(move |_: &Request, _| with_headers(400, "Content-Type: text/plain\r\n", text));
    let run = fake(&vault).run();
    run.expect(78, &["begins with http://"]).stage("login");
    assert!(said(&run, SAYS).is_empty());
    assert_eq!(vault.requests().len(), 1);
}

/// A pod that reads as many paths, each into a file.
fn of_paths(count: usize) -> Agent {
    let bao = shared();
    let mut agent = Agent::for_bao(bao).with("/login/inline", json!(true));
    for number in 0..count {
        let secret = format!("arc-runners/data/many-{number}");
        bao.write(&secret, &json!({"data": {"a": "b"}}));
        agent = agent.file(json!({"secret": secret, "format": "json", "file": format!("{number}"), "mode": "0440"}));
    }
    agent
}

#[test]
fn sixty_four_paths_are_read_without_a_client_token() {
    let run = of_paths(64).run();
    run.expect(0, &[]);
    assert!(said(&run, SAYS).is_empty() && said(&run, "logged in").is_empty());
    assert_eq!(said(&run, "read without a client token").len(), 64);
}

#[test]
fn where_a_client_token_is_wanted_no_request_is_wasted() {
    let bao = shared();
    let web = || {
        Agent::for_bao(bao)
            .with("/login/inline", json!(true))
            .file(kubeconfig())
    };
    bao.write("arc-runners/data/one-more", &json!({"data": {"a": "b"}}));
    // A plan has at most 64 files.
    let one_more =
        json!([{"secret": "arc-runners/data/one-more", "select": {"value": {"at": ["a"], "name": "ONE_MORE"}}}]);
    let many = of_paths(64).with("/env", one_more).with("/envMode", json!("0440"));
    let web_file = json!({"secret": "arc-runners/data/many-0", "format": "json", "file": "web", "mode": "0440"});
    let fresh = Agent::for_bao(bao)
        .with("/login/inline", json!(true))
        .file(web_file)
        .refresh("1m");
    for (agent, why) in [
        (
            web().with("/tokenFile", json!({"file": "/vault/secrets:token", "mode": "0440"})),
            "are to have a client token",
        ),
        (fresh, "the sidecar needs a client token"),
        (
            web().with("/mountLookup", json!({})),
            "looks up mounts for client tokens only",
        ),
        (many, "more than 64 paths"),
    ] {
        let run = agent.run();
        run.expect(0, &[]);
        says_once(&run, why);
        let accessor = &said(&run, "logged in")[0]["accessor"];
        assert!(accessor.is_string());
        assert!(said(&run, "read without a client token").is_empty());
    }
}

#[test]
fn a_role_with_token_num_uses_is_read_with_its_token() {
    let bao = server();
    let skip = bao.audit().len();
    let agent = inline(&bao).with("/login/role", json!("once")).file(kubeconfig());
    let run = agent.run();
    run.expect(0, &[]);
    says_once(&run, "token_num_uses");
    let secret = "arc-runners/data/kubeconfig/rancher-cluster";
    let login = format!("auth/{MOUNT}/login");
    let asked = asked(&bao, skip);
    assert_eq!(asked, [&login, secret, &login, secret, "auth/token/revoke-self"]);

    // A batch token has no uses.
    let tokens = bao.tokens();
    let run = inline(&bao)
        .with("/login/role", json!("batch"))
        .file(kubeconfig())
        .run();
    run.expect(0, &[]);
    assert!(said(&run, SAYS).is_empty());
    assert_eq!(bao.tokens(), tokens);
}

#[test]
fn an_answer_with_a_lease_is_read_with_a_session_and_what_was_read_before_is_kept() {
    let bao = server();
    bao.write(
        "sys/mounts/leased",
        &json!({"type": "kv", "options": {"version": "1", "leased_passthrough": "true"}}),
    );
    bao.write(
        "sys/policies/acl/leased",
        &json!({"policy": "path \"leased/*\" { capabilities = [\"read\"] }\npath \"arc-runners/*\" { capabilities = [\"read\"] }"}),
    );
    bao.write(
        &format!("auth/{MOUNT}/role/leased"),
        &json!({
            "bound_service_account_names": [ACCOUNT], "bound_service_account_namespaces": [NAMESPACE], "audience": "vault",
            "token_policies": ["leased"], "token_ttl": "10m",
        }),
    );
    bao.write("leased/web", &json!({"a": "b", "ttl": "1h"}));
    bao.write("arc-runners/data/web", &json!({"data": {"a": "c"}}));
    let skip = bao.audit().len();
    let file = |secret: &str, name: &str| json!({"secret": secret, "format": "json", "file": name, "mode": "0440"});
    let agent = inline(&bao)
        .with("/login/role", json!("leased"))
        .file(kubeconfig())
        .file(file("leased/web", "b"))
        .file(file("arc-runners/data/web", "c"));
    let run = agent.run();
    run.expect(0, &["delivered 3 files"]);
    says_once(&run, "would have had a lease");
    assert_eq!(said(&run, "read without a client token").len(), 1);
    let asked = asked(&bao, skip);
    let count = |path: &str| asked.iter().filter(|asked| *asked == path).count();
    assert_eq!(count("arc-runners/data/kubeconfig/rancher-cluster"), 1);
    assert_eq!(count("arc-runners/data/web"), 1);
}

/// The server makes a database user for an inline read, and drops the user in the same request. So podkey does not send such reads.
#[test]
fn a_database_user_is_made_once_and_not_for_an_inline_read() {
    let engines = engines();
    let (bao, postgres) = (&engines.bao, &engines.postgres);
    bao.database_role("inline", "1h", "24h");
    let users = || postgres.admin("select count(*) from pg_roles where rolname like '%inline%'");
    let parameter = |key: &str, value: &str| URL_SAFE_NO_PAD.encode(json!({"key": key, "value": value}).to_string());
    let jwt = bao.cluster.sign(&Claims::new(NAMESPACE, ACCOUNT, "vault"));
    let (role, jwt) = (parameter("role", "engines"), parameter("jwt", &jwt));
    let login = format!("auth/{MOUNT}/login");
    let headers = [
        ("X-Vault-Inline-Auth-Path", login.as_str()),
        ("X-Vault-Inline-Auth-Parameter-role", &role),
        ("X-Vault-Inline-Auth-Parameter-jwt", &jwt),
    ];
    let (status, text) = http::call(bao.http_port, "GET", "/v1/database/creds/inline", &headers, "").unwrap();
    assert_eq!(status, 500, "{text}");
    assert!(
        text.contains("requests with inline authentication cannot generate leases"),
        "{text}"
    );
    assert_eq!(users(), "0");

    let agent = engines::agent().with("/login/inline", json!(true)).file(engines::file(
        "database/creds/inline",
        &Value::Null,
        "username",
        "user",
    ));
    let run = agent.run();
    run.expect(0, &[]);
    says_once(&run, "has the segment creds");
    assert_eq!(users(), "1");
}

#[test]
fn a_failure_that_may_pass_is_tried_again_inline() {
    type Failure = fn() -> Reply;
    let failures: [Failure; 7] = [
        || answer(503, r#"{"errors":["Vault is sealed"]}"#),
        || answer(500, r#"{"errors":["storage failed"]}"#),
        || answer(429, r#"{"errors":["request path: rate limit quota exceeded"]}"#),
        || answer(473, "{}"),
        || answer(412, r#"{"errors":["required index state not present"]}"#),
        || with_headers(502, "Content-Type: text/html\r\n", "<h1>Bad Gateway</h1>"),
        || Reply::Custom(Box::new(|_| {})),
    ];
    for (number, failure) in failures.into_iter().enumerate() {
        let vault = FakeVault::plain(move |request: &Request, number| {
            assert!(is_inline(request));
            match number {
                0 => failure(),
                _ => answer(200, &secret_body(r#"{"a":"b"}"#)),
            }
        });
        let run = fake(&vault).budget("20s").run();
        run.expect(0, &[]);
        assert!(said(&run, SAYS).is_empty(), "{number}: {}", run.stderr);
        assert_eq!(vault.requests().len(), 2, "{number}");

        // Always: nobody has logged in, so the failure is one of the login. But a server's 500 is of the engine: the server marks
        // its own failures of the login.
        let vault = FakeVault::plain(move |_: &Request, _| failure());
        let run = fake(&vault).budget("1s").run();
        assert!([69, 75].contains(&run.code), "{number}: {}", run.stderr);
        run.stage(if number == 1 { "read" } else { "login" });
        assert!(run.report["message"].as_str().unwrap().len() > 10);
    }
    // No failure that passes.
    let vault = FakeVault::plain(move |_: &Request, _| answer(403, DENIED));
    let run = fake(&vault).budget("20s").run();
    run.expect(77, &["the role web may not read kv/data/web"]).stage("read");
    assert_eq!(vault.requests().len(), 1);
}

/// What the server answers for a path that the role may not read.
const DENIED: &str = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
const LEASE: &str = r#"{"errors":["requests with inline authentication cannot generate leases"]}"#;

/// Two files: of `kv/data/web`, and then of `kv/data/more`.
fn two_files(vault: &FakeVault) -> Agent {
    fake(vault).file(json!({"secret": "kv/data/more", "key": "a", "format": "raw", "file": "b", "mode": "0444"}))
}

#[test]
fn an_engine_that_fails_was_told_as_a_failed_login_and_hid_the_failures_of_other_paths() {
    let failing = r#"{"errors":["1 error occurred:\n\t* the engine failed\n\n"]}"#;
    for failing_path in ["/v1/kv/data/web", "/v1/kv/data/more"] {
        let vault = FakeVault::plain(move |request: &Request, _| match request.target == failing_path {
            true => answer(500, failing),
            false => answer(403, DENIED),
        });
        let run = two_files(&vault).run();
        // A failure that may pass is left out beside one that does not pass.
        run.expect(77, &["may not read kv/data/"]).stage("read");
        assert!(said(&run, SAYS).is_empty());
    }
}

#[test]
fn a_failed_read_was_followed_by_a_login_that_could_deliver_nothing() {
    let vault = FakeVault::plain(logged_in(|request, _| match request.target.as_str() {
        "/v1/kv/data/web" => answer(403, DENIED),
        _ if is_inline(request) => answer(500, LEASE),
        _ => answer(200, &secret_body(r#"{"a":"b"}"#)),
    }));
    let run = two_files(&vault).run();
    run.expect(77, &["may not read kv/data/web"]).stage("read");
    let targets: Vec<_> = vault.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets, ["/v1/kv/data/web", "/v1/kv/data/more"]);
    assert!(said(&run, SAYS).is_empty(), "{}", run.stderr);
}

#[test]
fn a_missing_secret_that_the_pod_ignores_is_no_reason_to_deliver_nothing() {
    let vault = FakeVault::plain(logged_in(|request, _| match request.target.as_str() {
        "/v1/kv/data/web" => answer(404, r#"{"errors":[]}"#),
        _ if is_inline(request) => answer(500, LEASE),
        _ => answer(200, &secret_body(r#"{"a":"b"}"#)),
    }));
    let run = two_files(&vault).with("/ignoreNotFound", json!(true)).run();
    run.expect(0, &["delivered 1 file"]);
    says_once(&run, "would have had a lease");
}

#[test]
fn a_login_that_is_refused_later_hid_the_failures_before() {
    let vault = FakeVault::plain(|request: &Request, _| match request.target.as_str() {
        "/v1/kv/data/web" => answer(403, DENIED),
        _ => with_headers(
            403,
            "Content-Type: application/json\r\nX-Vault-Inline-Auth-Failed: true\r\n",
            r#"{"errors":["namespace not authorized"]}"#,
        ),
    });
    let run = two_files(&vault).run();
    run.expect(77, &["may not read kv/data/web", "namespace not authorized"])
        .stage("read");
}

#[test]
fn a_success_that_is_no_secret_is_a_failed_read_and_not_a_failed_login() {
    for (headers, body, text) in [
        ("Content-Type: text/html\r\n", "<h1>Sign in</h1>", "is not from Vault"),
        (
            "Content-Type: application/json\r\n",
            r#"{"data":[]}"#,
            "is not from Vault",
        ),
        (
            "Content-Type: application/pkix-cert\r\n",
            "x",
            "answers raw, without JSON",
        ),
    ] {
        let vault = FakeVault::plain(move |_: &Request, _| with_headers(200, headers, body));
        fake(&vault).run().expect(76, &[text]).stage("read");
        assert_eq!(vault.requests().len(), 1);
    }
}

#[test]
fn a_signal_ends_an_inline_read_and_leaves_nothing() {
    let vault = FakeVault::plain(|_: &Request, _| crate::process::stuck());
    let agent = fake(&vault).budget("60s");
    let child = agent.spawn();
    crate::process::wait_for(|| !vault.requests().is_empty());
    crate::process::send("-TERM", &child);
    let run = agent.check(child.wait_with_output().unwrap(), std::time::Duration::ZERO);
    run.expect(143, &["nothing was left behind"]);
    assert_eq!(vault.requests().len(), 1);
}

#[test]
fn the_next_try_of_an_inline_read_takes_the_kubelets_next_token() {
    let vault = FakeVault::plain(|_: &Request, number| match number {
        0 => with_headers(
            400,
            "Content-Type: application/json\r\nX-Vault-Inline-Auth-Failed: true\r\n",
            r#"{"errors":["has not been replicated yet"]}"#,
        ),
        _ => answer(200, &secret_body(r#"{"a":"b"}"#)),
    });
    let mut agent = fake(&vault).budget("20s");
    let child = agent.spawn();
    crate::process::wait_for(|| !vault.requests().is_empty());
    let next = FAKE_JWT.replace("canary-jwt", "canary-next-jwt");
    agent.token(&next);
    agent
        .check(child.wait_with_output().unwrap(), std::time::Duration::ZERO)
        .expect(0, &[]);
    let sent = |number: usize| {
        let header = vault.requests()[number]
            .header("x-vault-inline-auth-parameter-jwt")
            .unwrap()
            .to_owned();
        let json: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        json["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(sent(0), FAKE_JWT);
    // The pause may have been shorter than this test needs to write the file.
    assert!([FAKE_JWT, &next].contains(&sent(1).as_str()));
}

#[test]
fn a_server_that_quotes_the_header_back_does_not_put_the_token_into_a_message() {
    let vault = FakeVault::plain(|request: &Request, _| {
        let quoted = request.header("x-vault-inline-auth-parameter-jwt").unwrap();
        answer(
            400,
            &json!({"errors": [format!("bad header {quoted}")], "warnings": [FAKE_JWT]}).to_string(),
        )
    });
    let spelled = URL_SAFE_NO_PAD.encode(json!({"key": "jwt", "value": FAKE_JWT}).to_string());
    let run = fake(&vault).canary(&spelled).run();
    run.expect(77, &["bad header"]);
}

#[test]
fn a_piece_of_the_token_in_the_request_id_came_into_the_log() {
    let spelled = URL_SAFE_NO_PAD.encode(json!({"key": "jwt", "value": FAKE_JWT}).to_string());
    for piece in [spelled[20..60].to_owned(), FAKE_JWT[FAKE_JWT.len() - 30..].to_owned()] {
        let body = secret_body(r#"{"a":"b"}"#).replace(
            r#""request_id":"x""#,
            &json!({"request_id": piece}).to_string().replace(['{', '}'], ""),
        );
        let vault = FakeVault::plain(move |_: &Request, _| answer(200, &body));
        let run = fake(&vault).canary(&piece).run();
        run.expect(0, &[]);
        assert_eq!(said(&run, "read without a client token")[0]["request_id"], "");
    }
}

/// With storage in a raft each login and each revocation is an entry that the servers write to their disks.
#[test]
fn inline_reads_write_nothing_into_the_raft() {
    const RUNS: u64 = 20;
    let bao = OpenBao::on_raft().set_up_scenario_1();
    // A new mount of KV v2 refuses for a moment.
    let body = json!({"data": {"a": "b"}});
    crate::process::wait_for(|| bao.call_in("", "POST", "arc-runners/data/web", &body).0 == 200);
    let file = json!({"secret": "arc-runners/data/web", "format": "json", "file": "a", "mode": "0440"});
    let (with_session, without) = (Agent::for_bao(&bao).file(file.clone()), inline(&bao).file(file));
    // The first login of an account makes its entity.
    with_session.run().expect(0, &[]);
    let written = |agent: &Agent| {
        let before = bao.raft_entries();
        (0..RUNS).for_each(|_| {
            agent.run().expect(0, &[]);
        });
        bao.raft_entries() - before
    };
    let tokens = bao.tokens();
    // The server has work of its own, such as a new term or what is left of the upgrade of a mount.
    let own = written(&without);
    assert!(own < RUNS / 2, "{own}");
    assert_eq!(bao.tokens(), tokens);
    let with_tokens = written(&with_session);
    println!("{RUNS} runs: {own} entries without a token, {with_tokens} with one");
    assert!(with_tokens >= 2 * RUNS, "{with_tokens}");
}
