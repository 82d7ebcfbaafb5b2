//! Answers that a real server does not give on demand: the agent trusts no part of them, and shows none.

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::fake_vault::{
    CLIENT_TOKEN, FakeVault, Reply, bytes, json as answer, logged_in, login_body, secret_body, with_headers,
};
use crate::support::http::Request;

fn web() -> Reply {
    answer(
        200,
        &secret_body(
            r#"{"a":"canary-secret","n":12345678901234567890,"x":1.10,"t":true,"o":{"z":[1.10]},"none":null}"#,
        ),
    )
}

/// A server that gives every read this.
fn reads(reply: impl Fn() -> Reply + Send + Sync + 'static) -> FakeVault {
    FakeVault::plain(logged_in(move |_, _| reply()))
}

fn agent(fake: &FakeVault) -> Agent {
    Agent::for_fake(fake).canary("canary-secret").budget("3s")
}

fn revocations(fake: &FakeVault) -> usize {
    fake.requests()
        .iter()
        .filter(|r| r.target == "/v1/auth/token/revoke-self")
        .count()
}

#[test]
fn the_agent_sends_the_requests_that_vault_expects_and_no_more() {
    let fake = FakeVault::plain(|request: &Request, n| match request.target.ends_with("/login") {
        true => with_headers(200, "X-Vault-Index: idx-7\r\n", &login_body()),
        false => logged_in(|request, _| match request.target.ends_with("?version=3") {
            true => answer(
                200,
                &secret_body(r#"{"data":{"a":"canary-secret"},"metadata":{"version":3}}"#),
            ),
            false => web(),
        })(request, n),
    });
    let run = agent(&fake)
        .with("/connection/namespace", json!("team/a"))
        .with("/login/mount", json!("my cluster/ä"))
        .file(json!({"secret": "kv/data/w$b (1)", "version": 3, "key": "a", "format": "raw", "file": "b", "mode": "0400"}))
        .run();
    run.expect(0, &[]);
    let requests = fake.requests();
    let targets: Vec<String> = requests.iter().map(|r| format!("{} {}", r.method, r.target)).collect();
    assert_eq!(
        targets,
        [
            "POST /v1/auth/my%20cluster/%C3%A4/login",
            "GET /v1/kv/data/web",
            "GET /v1/kv/data/w%24b%20%281%29?version=3",
            "POST /v1/auth/token/revoke-self"
        ]
    );
    for request in &requests {
        assert_eq!(request.header("x-vault-request"), Some("true"));
        assert_eq!(request.header("x-vault-namespace"), Some("team/a"));
        assert_eq!(
            request.header("user-agent"),
            Some(concat!("podkey/", env!("CARGO_PKG_VERSION")))
        );
        assert_eq!(request.header("accept-encoding"), None);
        assert_eq!(
            request.header("host"),
            Some(format!("127.0.0.1:{}", fake.port).as_str())
        );
        let is_login = request.target.ends_with("/login");
        assert_eq!(request.header("x-vault-token"), (!is_login).then_some(CLIENT_TOKEN));
        let is_read = request.method == "GET";
        assert_eq!(request.header("x-vault-index"), is_read.then_some("idx-7"));
    }
    let body: serde_json::Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(body, json!({"role": "web", "jwt": crate::support::agent::FAKE_JWT}));
    assert_eq!(fake.connections(), 1, "a few reads take one connection");
}

#[test]
fn every_path_is_read_once_and_many_over_at_most_four_connections() {
    let fake = reads(web);
    let mut many = agent(&fake).with("/files", json!([])).budget("10s");
    for n in 0..64 {
        let path = format!("kv/data/{}", n / 2);
        many = many.file(json!({"secret": path, "key": "a", "format": "raw", "file": format!("f{n}"), "mode": "0400"}));
    }
    many.run().expect(0, &["delivered 64 files"]);
    let mut targets: Vec<String> = fake
        .requests()
        .into_iter()
        .filter(|r| r.method == "GET")
        .map(|r| r.target)
        .collect();
    targets.sort();
    let all = targets.len();
    targets.dedup();
    assert_eq!((all, targets.len()), (32, 32));
    assert_eq!(fake.connections(), 4);
}

#[test]
fn values_keep_their_digits_and_null_is_missing() {
    let fake = reads(web);
    let mut run = agent(&fake).with("/files", json!([]));
    for (key, name) in [("n", "n"), ("x", "x"), ("t", "t"), ("o", "o")] {
        run = run.file(json!({"secret": "kv/data/web", "key": key, "format": "raw", "file": name, "mode": "0400"}));
    }
    run.run().expect(0, &[]);
    for (name, text) in [
        ("n", "12345678901234567890"),
        ("x", "1.10"),
        ("t", "true"),
        ("o", r#"{"z":[1.10]}"#),
    ] {
        assert_eq!(
            String::from_utf8(run.delivered(&format!("files/{name}"))).unwrap(),
            text
        );
    }
    let missing = agent(&fake).with("/files/0/key", json!("none"));
    missing.run().expect(66, &["\"none\" is null"]).stage("render");
    assert!(missing.all_files().is_empty());
    assert_eq!(revocations(&fake), 2, "on success and on failure");
}

#[test]
fn no_redirect_is_followed() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    collector.set_nonblocking(true).unwrap();
    let to = format!("Location: http://{}/v1/x\r\n", collector.local_addr().unwrap());
    for status in [301, 302, 307, 308] {
        let header = to.clone();
        let fake = FakeVault::plain(move |_, _| with_headers(status, &header, ""));
        agent(&fake)
            .run()
            .expect(76, &["redirect refused", &status.to_string()])
            .stage("login");
        // A standby says 307 for as long as it does not know the new leader.
        assert_eq!(fake.requests().len() > 1, status == 307, "{status}");
        let header = to.clone();
        let fake = reads(move || with_headers(status, &header, ""));
        agent(&fake).run().expect(76, &["redirect refused"]).stage("read");
    }
    assert!(collector.accept().is_err(), "somebody came");
}

#[test]
fn the_agent_waits_for_a_server_that_recovers() {
    let sealed = || answer(503, r#"{"errors":["Vault is sealed"]}"#);
    for (name, reply) in [
        ("sealed", sealed as fn() -> Reply),
        ("412", || {
            answer(412, r#"{"errors":["required index state not present"]}"#)
        }),
        ("403 on a standby", || {
            answer(403, r#"{"errors":["permission denied"]}"#)
        }),
        ("502", || {
            with_headers(502, "Content-Type: text/html\r\n", "<html>bad gateway</html>")
        }),
        ("closed", || Reply::Last(Vec::new())),
        ("429", || {
            with_headers(429, "Retry-After: 1\r\n", r#"{"errors":["rate limit"]}"#)
        }),
    ] {
        let fake = FakeVault::plain(logged_in(move |_, n| if n < 2 { reply() } else { web() }));
        let run = agent(&fake).budget("10s").run();
        run.expect(0, &[]);
        assert!(run.stderr.contains("trying again"), "{name}: {}", run.stderr);
    }
}

#[test]
fn a_login_is_retried_with_the_current_token_file() {
    let fake = FakeVault::plain(|request: &Request, n| match n {
        0 => answer(503, r#"{"errors":["Vault is sealed"]}"#),
        _ => logged_in(|_, _| web())(request, n),
    });
    agent(&fake).budget("10s").run().expect(0, &[]);
}

#[test]
fn the_reason_why_a_server_did_not_recover_is_reported() {
    for (code, reply, texts) in [
        (
            69,
            (|| answer(503, r#"{"errors":["Vault is sealed"]}"#)) as fn() -> Reply,
            &["Vault is sealed"][..],
        ),
        (69, || answer(500, r#"{"errors":["boom"]}"#), &["boom"]),
        (
            69,
            || with_headers(502, "Content-Type: text/html\r\n", "<html>canary-secret</html>"),
            &["502", "text/html"],
        ),
        (69, || answer(412, r#"{"errors":[]}"#), &["newest data"]),
        (69, || Reply::Last(Vec::new()), &["ended before"]),
        (
            75,
            || answer(429, r#"{"errors":["rate limit quota exceeded"]}"#),
            &["rate"],
        ),
        (
            75,
            || with_headers(429, "Retry-After: 300\r\n", r#"{"errors":["x"]}"#),
            &["rate"],
        ),
        (
            75,
            || answer(429, r#"{"errors":["lease count quota exceeded"]}"#),
            &["lease"],
        ),
    ] {
        for in_login in [true, false] {
            let fake = FakeVault::plain(move |request: &Request, n| match in_login {
                true => reply(),
                false => logged_in(move |_, _| reply())(request, n),
            });
            let run = agent(&fake);
            run.run()
                .expect(code, texts)
                .stage(if in_login { "login" } else { "read" });
            assert!(run.all_files().is_empty());
            assert_eq!(revocations(&fake), usize::from(!in_login));
            assert!(
                fake.requests().len() < 40,
                "no storm of our own: {}",
                fake.requests().len()
            );
        }
    }
}

#[test]
fn an_answer_that_does_not_come_from_vault_delivers_no_secret() {
    let deep = format!(r#"{{"data":{{"a":{}{}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (body, text) in [
        ("", "empty"),
        ("canary-secret", "JSON"),
        (r#"{"data":{"a":"canary-secret""#, "JSON"),
        (r#"{"data":null}"#, "no data"),
        (r#"{"data":["canary-secret"]}"#, "not an object"),
        (r#"{"data":{"a":"canary-secret","a":"b"}}"#, "distinct"),
        (r#"{"data":null,"wrap_info":{"token":"canary-secret"}}"#, "wrapped"),
        (deep.as_str(), "deep"),
    ] {
        let body = body.to_owned();
        let fake = reads(move || answer(200, &body));
        let run = agent(&fake);
        run.run().expect(76, &[text]);
        assert!(run.all_files().is_empty());
    }
    for (body, text) in [
        ("<html>canary-secret</html>", "JSON"),
        (r#"{"auth":{"accessor":"x"}}"#, "no client token"),
        (r#"{"auth":null,"wrap_info":{"token":"canary-secret"}}"#, "wrapped"),
        (r#"{"auth":{"client_token":"canary-secret\r\nX: y"}}"#, "characters"),
    ] {
        let fake = FakeVault::plain(move |_, _| answer(200, body));
        agent(&fake).run().expect(76, &[text]).stage("login");
    }
    let fake = FakeVault::plain(|_, _| Reply::Last(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()));
    agent(&fake).run().expect(76, &["not HTTP"]);
}

#[test]
fn a_compressed_body_that_was_not_requested_is_not_unpacked() {
    // {"data":{"a":"canary-secret"}}
    let packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xabVJI,IT\xb2\xaaV\x02\x12J\xc9\x89y\x89E\x95\xba\xc5\xa9\xc9E\xa9%J\xb5\xb5\x001\x8d\x91\xe0\x1e\x00\x00\x00";
    for head in ["Content-Encoding: gzip\r\n", ""] {
        let fake = reads(move || {
            let head = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n{head}\r\n", packed.len());
            Reply::Bytes([head.as_bytes(), packed].concat())
        });
        let run = agent(&fake);
        run.run().expect(76, &["is not from Vault"]).stage("read");
        assert!(run.all_files().is_empty());
    }
}

/// Address space for the whole program, far below what it is sent.
fn in_48_mib(agent: &Agent) -> crate::support::agent::Ended {
    let inner = agent.command();
    let mut command = std::process::Command::new("prlimit");
    command
        .arg("--as=50331648")
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let begun = Instant::now();
    agent.check(command.output().unwrap(), begun.elapsed())
}

#[test]
fn endless_answers_are_cut_off_with_little_memory() {
    let announced = || Reply::Last(b"HTTP/1.1 200 X\r\nContent-Length: 104857600\r\n\r\n".to_vec());
    let flood = |head: &'static str, piece: &'static [u8]| {
        move || {
            Reply::Custom(Box::new(move |out: &mut dyn Write| {
                let mut sent = out.write_all(head.as_bytes());
                let block = piece.repeat(64 * 1024 / piece.len());
                while sent.is_ok() {
                    sent = out.write_all(&block);
                }
            }))
        }
    };
    let chunked = flood(
        "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"10\r\n0123456789abcdef\r\n",
    );
    let until_close = flood("HTTP/1.1 200 X\r\n\r\n{\"data\":\"", b"canary-secret");
    let headers = flood("HTTP/1.1 200 X\r\n", b"X-A: canary-secret\r\n");
    for fake in [reads(announced), reads(chunked), reads(until_close)] {
        in_48_mib(&agent(&fake).budget("2m"))
            .expect(76, &["4 MiB"])
            .stage("read");
    }
    in_48_mib(&agent(&reads(headers)).budget("2m")).expect(76, &["not HTTP"]);
    // Many that are small enough alone.
    let big = secret_body(&format!(r#"{{"a":"{}"}}"#, "x".repeat(3 << 20)));
    let fake = reads(move || answer(200, &big));
    let mut three = agent(&fake).with("/files", json!([])).budget("2m");
    for n in 0..3 {
        three = three.file(json!({"secret": format!("kv/data/{n}"), "key": "a", "format": "raw", "file": n.to_string(), "mode": "0400"}));
    }
    in_48_mib(&three).expect(76, &["8 MiB"]);
    let twice = agent(&fake)
        .budget("2m")
        .file(json!({"secret": "kv/data/web", "key": "a", "format": "raw", "file": "b", "mode": "0400"}));
    in_48_mib(&twice).expect(65, &["4 MiB"]).stage("render");
}

#[test]
fn slow_and_silent_servers_cost_no_more_than_the_budget() {
    let drip = || {
        Reply::Custom(Box::new(|out: &mut dyn Write| {
            let mut sent = out.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n{");
            while sent.is_ok() {
                sleep(Duration::from_millis(50));
                sent = out.write_all(b" ").and_then(|()| out.flush());
            }
        }))
    };
    let silent = || Reply::Custom(Box::new(|_: &mut dyn Write| sleep(Duration::from_secs(8))));
    for fake in [reads(drip), reads(silent)] {
        let run = agent(&fake).budget("1s").run();
        run.expect(69, &["budget"]);
        assert!(run.took < Duration::from_secs(8), "{:?}", run.took);
    }
}

#[test]
fn a_wrong_content_length_never_delivers_half_a_secret() {
    let body = secret_body(r#"{"a":"canary-secret"}"#);
    let short = body.clone();
    let fake = reads(move || {
        Reply::Last(format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{short}", short.len() + 9).into_bytes())
    });
    agent(&fake).run().expect(69, &["ended before"]);
    let fake = reads(move || {
        Reply::Last(format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{body}", body.len() - 9).into_bytes())
    });
    agent(&fake).run().expect(76, &["JSON"]);
}

#[test]
fn an_answer_that_is_cut_at_any_byte_is_requested_again() {
    let whole = bytes(
        200,
        "Content-Type: application/json\r\n",
        &secret_body(r#"{"a":"canary-secret"}"#),
    );
    let login = bytes(200, "", &login_body());
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(5, Ordering::SeqCst);
                    if at >= whole.len().max(login.len()) {
                        return;
                    }
                    let (whole, login) = (whole.clone(), login.clone());
                    let fake = FakeVault::plain(move |request: &Request, n| match n {
                        0 => Reply::Last(login[..at.min(login.len() - 1)].to_vec()),
                        2 => Reply::Last(whole[..at.min(whole.len() - 1)].to_vec()),
                        _ => logged_in(|_, _| web())(request, n),
                    });
                    let agent = agent(&fake).budget("30s");
                    let run = agent.run();
                    let lost = run.stderr.contains("may have made a client token");
                    if run.code != 0 || agent.delivered("files/a") != b"canary-secret" || !lost {
                        failures.lock().unwrap().push((at, run.stderr));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn a_connection_that_was_closed_while_idle_is_replaced_without_a_log_line() {
    let fake = FakeVault::plain(|request: &Request, n| match logged_in(|_, _| web())(request, n) {
        Reply::Bytes(bytes) => Reply::Last(bytes),
        other => other,
    });
    let run = agent(&fake).run();
    run.expect(0, &[]);
    assert!(!run.stderr.contains("trying again"), "{}", run.stderr);
    assert_eq!(fake.connections(), 3);
}

#[test]
fn a_server_that_cannot_answer_now_gets_the_retry_over_a_new_connection() {
    for (status, connections) in [(307, 2), (472, 2), (473, 2), (500, 2), (503, 2), (412, 1)] {
        for failing in 0..2 {
            let fake = FakeVault::plain(move |request: &Request, n| match n == failing {
                true => answer(status, r#"{"errors":["not now"]}"#),
                false => logged_in(|_, _| web())(request, n),
            });
            agent(&fake).run().expect(0, &[]);
            let connections = if failing == 0 { 2 } else { connections };
            assert_eq!(fake.connections(), connections, "{status} for request {failing}");
        }
    }
}

#[test]
fn a_denied_login_is_tried_at_another_server() {
    // As with a standby of OpenBao that does not know the auth method's new config yet.
    let fake = FakeVault::plain(|request: &Request, n| match n {
        0 => answer(403, r#"{"errors":["permission denied"]}"#),
        _ => logged_in(|_, _| web())(request, n),
    });
    agent(&fake).run().expect(0, &[]);
    assert_eq!(fake.connections(), 2);
}

#[test]
fn a_login_that_may_have_been_executed_is_not_sent_again_without_a_log_line() {
    let fake = FakeVault::plain(|request: &Request, n| match n {
        0 => answer(403, r#"{"errors":["permission denied"]}"#),
        1 => Reply::Last(Vec::new()),
        _ => logged_in(|_, _| web())(request, n),
    });
    let run = agent(&fake).budget("10s").run();
    run.expect(0, &[]);
    let logins = fake.requests().iter().filter(|r| r.target.ends_with("/login")).count();
    assert_eq!((logins, fake.connections()), (3, 3));
    let told = |text: &str| run.stderr.matches(text).count();
    assert_eq!(told("may have made a client token"), 1, "{}", run.stderr);
}

#[test]
fn a_read_is_sent_again_where_the_server_closed_an_open_connection() {
    let fake = FakeVault::plain(logged_in(|_, n| match n {
        0 => Reply::Last(Vec::new()),
        _ => web(),
    }));
    let run = agent(&fake).run();
    run.expect(0, &[]);
    assert!(!run.stderr.contains("trying again"), "{}", run.stderr);
}

#[test]
fn a_budget_that_ends_before_the_login_is_sent_loses_no_token() {
    // The kernel takes the connection, nobody answers the TLS handshake.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let fake = reads(web);
    let run = agent(&fake)
        .budget("1s")
        .with(
            "/connection/address",
            json!(format!("https://{}", listener.local_addr().unwrap())),
        )
        .with("/connection/ca", json!(crate::support::ca::Ca::new("ca").pem()))
        .run();
    run.expect(69, &["budget"]);
    assert!(!run.stderr.contains("client token"), "{}", run.stderr);

    let fake = FakeVault::plain(|_, _| Reply::Custom(Box::new(|_: &mut dyn Write| sleep(Duration::from_secs(3)))));
    let run = agent(&fake).budget("1s").run();
    run.expect(69, &["budget"]);
    assert!(run.stderr.contains("may have made a client token"), "{}", run.stderr);
}

#[test]
fn a_skipped_secret_is_logged_with_a_hint_and_only_missing_secrets_are_skipped() {
    let skipping = |fake: &FakeVault| agent(fake).with("/ignoreNotFound", json!(true));
    let unversioned = || {
        let said = r#"{"errors":[],"warnings":["Invalid path for a versioned K/V secrets engine. See the API docs"]}"#;
        answer(404, said)
    };
    let fake = reads(unversioned);
    let run = skipping(&fake).with("/files/0/secret", json!("kv/web")).run();
    run.expect(0, &["delivered 0 files"]);
    let told = run.stderr.lines().find(|line| line.contains("skipped")).unwrap();
    assert!(told.contains("<mount>/data/<secret>"), "{told}");

    // It is there, and can never be read.
    let fake = reads(|| answer(405, r#"{"errors":["unsupported operation"]}"#));
    let run = skipping(&fake);
    run.run()
        .expect(66, &["unsupported operation", "must be written, not read"]);
    assert!(run.all_files().is_empty());
}

#[test]
fn the_agent_waits_for_a_server_that_starts_late() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("http://127.0.0.1:{port}");
    let base = reads(web);
    let late = agent(&base).with("/connection/address", json!(address)).budget("20s");
    let mut child = late.spawn();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("cannot be reached") {
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let to = base.port;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = std::net::TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (mut from_client, mut to_client) = (client.try_clone().unwrap(), client);
            let (mut from_server, mut to_server) = (server.try_clone().unwrap(), server);
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
        }
    });
    log.read_to_string(&mut said).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stderr = said.into_bytes();
    late.check(output, Duration::ZERO).expect(0, &[]);
}

#[test]
fn a_host_name_that_does_not_resolve_is_reported() {
    let fake = reads(web);
    agent(&fake)
        .with("/connection/address", json!("http://no-such-host.invalid:8200"))
        .run()
        .expect(69, &["no-such-host.invalid"]);
}

#[test]
fn a_server_is_reached_if_one_address_of_its_name_answers() {
    // Where localhost is ::1 too, nobody listens there.
    let fake = reads(web);
    agent(&fake)
        .with("/connection/address", json!(format!("http://localhost:{}", fake.port)))
        .run()
        .expect(0, &[]);
}

#[test]
fn a_delivered_lease_keeps_its_token_and_a_failed_run_does_not() {
    let dynamic = || {
        let body = r#"{"lease_id":"database/creds/web/canary-lease","renewable":true,"lease_duration":3600,"data":{"a":"canary-secret"}}"#;
        answer(200, body)
    };
    let fake = reads(dynamic);
    let run = agent(&fake).canary("canary-lease").run();
    run.expect(0, &[]);
    // The client token, which the lease ends with, lives for ten minutes.
    assert!(!run.stderr.contains("\"ttl_s\":3600"), "{}", run.stderr);
    assert!(run.stderr.contains("before its lease would"), "{}", run.stderr);
    assert_eq!(revocations(&fake), 0);
    agent(&fake).with("/files/0/key", json!("gone")).run().expect(66, &[]);
    assert_eq!(revocations(&fake), 1);
}

#[test]
fn a_revocation_that_fails_changes_nothing_but_the_log() {
    for reply in [
        (|| answer(500, r#"{"errors":["x"]}"#)) as fn() -> Reply,
        || Reply::Last(Vec::new()),
        || answer(403, r#"{"errors":["permission denied"]}"#),
    ] {
        let fake = FakeVault::plain(
            move |request: &Request, n| match request.target.ends_with("revoke-self") {
                true => reply(),
                false => logged_in(|_, _| web())(request, n),
            },
        );
        let run = agent(&fake).run();
        run.expect(0, &[]);
        assert!(run.stderr.contains("until its TTL"), "{}", run.stderr);
    }
}

#[test]
fn the_text_of_a_server_cannot_forge_a_log_line() {
    let hostile = json!({"errors": ["\u{1b}[31m\n{\"code\":0}\r\nx\u{202e}", "y".repeat(5000)]}).to_string();
    let fake = FakeVault::plain(move |_, _| answer(400, &hostile));
    let run = agent(&fake).run();
    run.expect(77, &["\\u{1b}[31m"]);
    assert!(!run.stderr.contains('\u{1b}') && !run.stderr.contains('\u{202e}'));
    assert!(
        run.stderr
            .lines()
            .all(|line| line.starts_with('{') && line.len() < 4096)
    );
    let warned = r#"{"data":{"a":"x"},"warnings":["line\nbreak \u001b[0m"]}"#;
    let fake = reads(move || answer(200, warned));
    let run = agent(&fake).run();
    run.expect(0, &[]);
    assert!(run.stderr.contains("line break"), "{}", run.stderr);
}

#[test]
fn a_token_that_a_server_quotes_is_not_logged() {
    let quoting = |text: String| answer(400, &json!({"errors": [format!("cannot take {text}")]}).to_string());
    // The service-account token, in the answer to the login.
    let fake = FakeVault::plain(move |request: &Request, _| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        quoting(body["jwt"].as_str().unwrap().to_owned())
    });
    agent(&fake).run().expect(77, &["cannot take [redacted]"]);
    // The client token: as the accessor, in a warning, and in the answer to a read.
    let fake = FakeVault::plain(|request: &Request, _| match request.target.ends_with("/login") {
        true => {
            let mut login: serde_json::Value = serde_json::from_str(&login_body()).unwrap();
            login["auth"]["accessor"] = login["auth"]["client_token"].clone();
            login["warnings"] = json!([login["auth"]["client_token"]]);
            answer(200, &login.to_string())
        }
        false => answer(
            404,
            &json!({"errors": [format!("token {CLIENT_TOKEN} sees nothing here")]}).to_string(),
        ),
    });
    agent(&fake).run().expect(66, &[]);
}

#[test]
fn a_pipe_in_the_place_of_the_token_file_does_not_block() {
    let fake = FakeVault::plain(logged_in(|_, _| web()));
    let agent = agent(&fake);
    let token = agent.root().join("podkey/token/token");
    std::fs::remove_file(&token).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&token)
            .status()
            .unwrap()
            .success()
    );
    agent.run().expect(64, &["is not a regular file"]);
}
