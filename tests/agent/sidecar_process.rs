//! The sidecar as a process: it takes the token over and revokes it at the end, it never exits with a failure, and it resumes
//! from the state of an earlier sidecar.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::job_pod::Pod;
use crate::process::{Signalled, stuck};
use crate::support::agent::Agent;
use crate::support::fake_vault::{
    FakeVault, Reply, bytes, json as answer, logged_in, login_body, secret_body, with_headers,
};
use crate::support::http::Request;
use crate::support::openbao::OpenBao;

/// A pod with one fresh file of this secret, `init` done.
pub(crate) fn fresh(bao: &OpenBao, secret: &str) -> Agent {
    put(bao, secret, "canary-first");
    let agent = Agent::for_bao(bao)
        .refresh("5s")
        .canary("canary-first")
        .canary("canary-second");
    let agent = agent.file(json!({"secret": secret, "key": "a", "format": "raw", "file": "a", "mode": "0440"}));
    agent.run().expect(0, &["delivered 1 file"]);
    agent
}

pub(crate) fn put(bao: &OpenBao, secret: &str, value: &str) {
    bao.write(secret, &json!({"data": {"a": value}}));
}

/// The accessors of all logins in a log.
pub(crate) fn accessors(log: &[Value]) -> Vec<String> {
    let logins = log.iter().filter(|line| line["message"] == "logged in");
    logins
        .map(|line| line["accessor"].as_str().unwrap().to_owned())
        .collect()
}

fn log_of(stderr: &str) -> Vec<Value> {
    stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether there is such a token.
pub(crate) fn lives(bao: &OpenBao, accessor: &str) -> bool {
    let (status, _) = bao.call_in("", "POST", "auth/token/lookup-accessor", &json!({"accessor": accessor}));
    status == 200
}

fn handover(agent: &Agent) -> std::path::PathBuf {
    agent.root().join("podkey/handover/handover.json")
}

#[test]
fn init_hands_its_token_over_and_the_sidecar_revokes_it_at_the_end() {
    for signal in ["-TERM", "-INT"] {
        let bao = bao();
        let secret = format!("arc-runners/data/handed{signal}");
        put(bao, &secret, "canary-first");
        let agent = fresh(bao, &secret);
        let run = agent.run();
        let [accessor] = accessors(&log_of(&run.stderr)).try_into().unwrap();
        assert!(lives(bao, &accessor), "init does not revoke it");
        assert!(run.stderr.contains("the sidecar has the token"), "{}", run.stderr);
        assert!(!run.stderr.contains("WARN"), "{}", run.stderr);
        let found = fs::metadata(handover(&agent)).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o600);
        assert_eq!(agent.status()["files"]["a"]["version"], 2);

        let mut sidecar = agent.sidecar();
        sidecar.until_said("with the client token of podkey-init");
        assert!(!handover(&agent).exists(), "unlinked as soon as it was read");
        assert_eq!(fs::read_dir(agent.root().join("podkey/handover")).unwrap().count(), 0);
        put(bao, &secret, "canary-second");
        agent.until("the change", |agent| {
            agent.text("a").as_deref() == Some("canary-second")
        });
        assert!(sidecar.runs() && lives(bao, &accessor));
        sidecar.signal(signal);
        let log = sidecar.ended();
        assert!(accessors(&log).is_empty(), "the same token all the time");
        assert!(!lives(bao, &accessor), "{signal}: revoked at the end");
        let last = log.last().unwrap()["message"].as_str().unwrap();
        assert!(last.ends_with("nothing was left at the server"), "{last}");
        let termination = fs::read_to_string(agent.root().join("dev/termination-log")).unwrap();
        assert!(
            termination.starts_with("podkey 0 stage=refresh connection=main: stopped by SIG"),
            "{termination}"
        );
    }
}

#[test]
fn a_sidecar_that_was_killed_logs_in_itself_and_knows_the_current_files() {
    let bao = bao();
    let secret = "arc-runners/data/killed";
    let agent = fresh(bao, secret);
    let first = agent.sidecar();
    first.until_said("with the client token of podkey-init");
    first.kill();
    let before = fs::metadata(agent.secrets().join("a")).unwrap();

    let second = agent.sidecar();
    second.until_said("there is no client token from before");
    agent.until("it is read again", |agent| {
        agent.status()["files"]["a"]["state"] == "fresh"
    });
    second.until_said("logged in");
    agent.until("a read", |_| {
        bao.audit()
            .iter()
            .filter(|entry| entry["type"] == "response" && entry["request"]["path"] == secret)
            .count()
            >= 2
    });
    let after = fs::metadata(agent.secrets().join("a")).unwrap();
    assert_eq!(
        (before.ino(), before.mtime_nsec()),
        (after.ino(), after.mtime_nsec()),
        "unchanged, so not written"
    );
    put(bao, secret, "canary-second");
    agent.until("the change", |agent| {
        agent.text("a").as_deref() == Some("canary-second")
    });
    let log = second.stop();
    let changed: Vec<_> = log.iter().filter(|line| line["message"] == "file changed").collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(
        (&changed[0]["old_version"], &changed[0]["version"]),
        (&json!(1), &json!(2)),
        "it knew the version"
    );
    let [accessor] = accessors(&log).try_into().unwrap();
    assert!(!lives(bao, &accessor));
}

#[test]
fn a_sidecar_that_was_killed_knows_the_origin_of_field_files_and_variables() {
    let bao = bao();
    let secret = "arc-runners/data/origins";
    let put = |data: Value| drop(bao.write(secret, &json!({"data": data})));
    put(json!({"a": "1", "b": "1"}));
    let each = |directory: &str, when_gone: &str| {
        let file = format!("{directory}/{{{{ .SecretKey }}}}");
        json!({"secret": secret, "format": "raw", "file": file, "mode": "0440", "whenGone": when_gone})
    };
    let agent = Agent::for_bao(bao)
        .refresh("5s")
        .file(each("x", "delete"))
        .file(each("y", "keep"))
        .with(
            "/env",
            json!([
                {"secret": secret, "select": {"value": {"at": ["a"], "name": "ONE"}}},
                {"secret": secret, "select": {"value": {"at": ["b"], "name": "TWO"}}},
                {"secret": secret, "select": {"upperCase": {"prefix": "P_"}}},
            ]),
        );
    agent.run().expect(0, &["delivered 4 files and 4 variables"]);
    agent.sidecar().kill();
    put(json!({"a": "2", "c": "2"}));
    let sidecar = agent.sidecar();
    agent.until("the change", |agent| agent.text("x/a").as_deref() == Some("2"));
    for (place, text) in [
        ("x/a", Some("2")),
        ("x/b", None),
        ("x/c", Some("2")),
        ("y/a", Some("2")),
        ("y/b", Some("1")),
        ("y/c", Some("2")),
        ("env/ONE", Some("2")),
        ("env/TWO", Some("1")),
        ("env/P_A", Some("2")),
        ("env/P_B", Some("1")),
        ("env/P_C", Some("2")),
    ] {
        assert_eq!(agent.text(place).as_deref(), text, "{place}");
    }
    for (place, state) in [("y/a", "fresh"), ("y/b", "gone"), ("env/TWO", "gone")] {
        agent.until(place, |agent| agent.status()["files"][place]["state"] == state);
    }
    sidecar.stop();
}

#[test]
fn a_field_that_moved_to_another_secret_replaces_a_kept_file() {
    let bao = bao();
    let secrets = ["arc-runners/data/moved-from", "arc-runners/data/moved-to"];
    let put = |secret: &str, data: Value| drop(bao.write(secret, &json!({"data": data})));
    put(secrets[0], json!({"foo": "old", "x": "1"}));
    put(secrets[1], json!({"y": "1"}));
    let all = secrets.map(|secret| json!({"secret": secret, "select": {"upperCase": {"prefix": ""}}}));
    let agent = fresh(bao, "arc-runners/data/moved").with("/env", json!(all));
    agent.run().expect(0, &["3 variables"]);
    let sidecar = agent.sidecar();
    put(secrets[0], json!({"x": "1"}));
    agent.until("it is gone", |agent| {
        agent.status()["files"]["env/FOO"]["state"] == "gone"
    });
    assert_eq!(agent.text("env/FOO").as_deref(), Some("old"), "kept");
    put(secrets[1], json!({"y": "2", "foo": "new"}));
    agent.until("the other's", |agent| agent.text("env/FOO").as_deref() == Some("new"));
    assert_eq!(agent.text("env/Y").as_deref(), Some("2"));
    sidecar.stop();
}

#[test]
fn a_failure_that_is_left_to_the_job_leaves_nothing_to_keep_fresh() {
    let bao = bao();
    let pod = Pod::new(Agent::for_bao(bao).refresh("5s")).file(
        json!({"secret": "arc-runners/data/never-there", "key": "a", "format": "raw", "file": "a", "mode": "0400"}),
    );
    pod.init().expect(0, &["left to the job hook"]);
    assert_eq!(pod.agent.status()["state"], "failed");
    put(bao, "arc-runners/data/never-there", "too late");
    for _ in 0..2 {
        let mut sidecar = pod.agent.sidecar();
        sidecar.until_said("there is nothing to keep fresh");
        assert!(sidecar.runs());
        assert!(accessors(&sidecar.stop()).is_empty());
        assert_eq!(pod.agent.text("a"), None);
    }
    // A start that succeeds after one that failed, and one that fails after one that succeeded.
    pod.init().expect(0, &["delivered 1 file"]);
    let sidecar = pod.agent.sidecar();
    sidecar.until_said("with the client token of podkey-init");
    sidecar.stop();
    bao.delete("arc-runners/data/never-there");
    pod.init().expect(0, &["left to the job hook"]);
    assert_eq!(pod.agent.text("a"), None);
    let left: Vec<_> = pod
        .agent
        .all_files()
        .into_iter()
        .filter(|file| !file.contains("..data") && !file.contains(".status"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_sidecar_that_cannot_work_waits_for_a_signal_and_exits_with_0() {
    let fake = FakeVault::plain(logged_in(|_, _| stuck()));
    let agent = || Agent::for_fake(&fake).refresh("5s");
    let no_refresh = Agent::for_fake(&fake);
    for (agent, told) in [
        (agent().raw_plan("{"), "does not parse"),
        (agent().raw_plan(""), "does not parse"),
        (agent().raw_plan(r#"{"version":7}"#), "version 7"),
        (agent().with("/refresh/interval", json!("1s")), "shorter than 5s"),
        (agent().env("PODKEY_BUDGET", "never"), "PODKEY_BUDGET"),
        (no_refresh, "asks for no refresh"),
    ] {
        let mut sidecar = agent.sidecar();
        sidecar.until_said("the files stay as they are");
        assert!(sidecar.runs());
        let log = sidecar.stop();
        let reason = log.iter().find(|line| line["level"] == "ERROR").unwrap()["reason"].to_string();
        assert!(reason.contains(told), "{reason}");
    }
    // What an earlier process left is garbage, or none of ours.
    let agent = agent();
    let logged_in = |what: &str| {
        let sidecar = agent.sidecar();
        agent.until(what, |_| sidecar.said("logged in").len() == 1);
        sidecar.stop();
        assert!(!handover(&agent).exists(), "{what}");
    };
    fs::create_dir_all(agent.secrets()).unwrap();
    fs::create_dir_all(handover(&agent).parent().unwrap()).unwrap();
    for garbage in ["", "{", "null", r#"{"delivered":{}}"#, "\u{0}\u{1}"] {
        fs::write(handover(&agent), garbage).unwrap();
        fs::write(agent.secrets().join(".status.json"), garbage).unwrap();
        logged_in(garbage);
    }
}

#[test]
fn a_missing_or_tampered_volume_is_reported_and_the_sidecar_waits() {
    let fake = FakeVault::plain(logged_in(|_, _| stuck()));
    let outside = tempfile::tempdir().unwrap();
    let agent = Agent::for_fake(&fake).refresh("5s");
    std::os::unix::fs::symlink(outside.path(), agent.secrets()).unwrap();
    let sidecar = agent.sidecar();
    sidecar.until_said("the files stay as they are");
    sidecar.stop();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn answers_without_sense_leave_the_files_as_they_are() {
    let nonsense: [fn() -> Reply; 8] = [
        || answer(200, "no json"),
        || answer(200, "{}"),
        || answer(200, r#"{"data":null}"#),
        || answer(200, r#"{"data":{"data":[],"metadata":{"version":1}}}"#),
        || answer(500, r#"{"errors":["internal error"]}"#),
        || Reply::Last(bytes(302, "Location: http://127.0.0.1:1/\r\n", "")),
        || {
            Reply::Last(bytes(
                200,
                "Content-Type: text/html\r\n",
                "<html>canary-of-a-proxy</html>",
            ))
        },
        || Reply::Last(b"\x00\xff garbage".to_vec()),
    ];
    let good = || answer(200, &secret_body(r#"{"data":{"a":"first"},"metadata":{"version":1}}"#));
    let last = || answer(200, &secret_body(r#"{"data":{"a":"last"},"metadata":{"version":2}}"#));
    std::thread::scope(|scope| {
        for bad in nonsense {
            scope.spawn(move || {
                let fake = FakeVault::plain(logged_in(move |_, n| match n {
                    0 => good(),
                    1 | 2 => bad(),
                    _ => last(),
                }));
                let agent = Agent::for_fake(&fake).refresh("5s").canary("canary-of-a-proxy");
                agent.run().expect(0, &[]);
                let sidecar = agent.sidecar();
                let reads = || {
                    fake.requests()
                        .iter()
                        .filter(|request| request.target == "/v1/kv/data/web")
                        .count()
                };
                agent.until("a try that fails", |_| reads() >= 2);
                agent.until("the state", |agent| agent.status()["files"]["a"]["state"] == "stale");
                assert_eq!(agent.text("a").as_deref(), Some("first"));
                assert!(agent.status()["files"]["a"]["reason"].is_string());
                agent.until("better days", |agent| agent.text("a").as_deref() == Some("last"));
                let log = sidecar.stop();
                let warned = log.iter().filter(|line| line["level"] == "WARN").count();
                assert_eq!(warned, 1, "one line a minute: {log:?}");
            });
        }
    });
}

#[test]
fn the_sidecar_ends_in_time_whatever_is_under_way() {
    let slow_login = |request: &Request| request.target.ends_with("/login");
    type Is = fn(&Request) -> bool;
    let stuck_at: [(&str, Is); 3] = [
        ("login", slow_login),
        ("read", |request| request.target.ends_with("/web")),
        ("revocation", |request| request.target.ends_with("/revoke-self")),
    ];
    for (what, is_stuck) in stuck_at {
        let fake = FakeVault::plain(move |request: &Request, n| match is_stuck(request) {
            true => stuck(),
            false => logged_in(|_, _| answer(200, &secret_body(r#"{"a":"1"}"#)))(request, n),
        });
        let agent = Agent::for_fake(&fake).refresh("5s");
        let sidecar = agent.sidecar();
        agent.until(what, |_| {
            fake.requests()
                .iter()
                .any(|request| is_stuck(request) || what == "revocation" && slow_login(request))
        });
        let begun = Instant::now();
        let log = sidecar.stop();
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{what}: {:?}",
            begun.elapsed()
        );
        let last = log.last().unwrap()["message"].as_str().unwrap();
        assert_eq!(last.contains("may be left"), what != "read", "{what}: {last}");
    }
}

#[test]
fn a_login_on_its_way_is_let_finish_so_that_its_token_can_be_revoked() {
    let signalled = Signalled::default();
    let seen = signalled.clone();
    let fake = FakeVault::plain(move |request: &Request, n| {
        if request.target.ends_with("/login") {
            seen.wait();
        }
        logged_in(|_, _| stuck())(request, n)
    });
    let agent = Agent::for_fake(&fake).refresh("5s");
    let sidecar = agent.sidecar();
    agent.until("the login", |_| fake.requests().len() == 1);
    sidecar.signal("-TERM");
    signalled.set();
    let log = sidecar.ended();
    assert_eq!(fake.requests().last().unwrap().target, "/v1/auth/token/revoke-self");
    assert!(log.last().unwrap()["message"].to_string().contains("nothing was left"));
}

#[test]
fn the_sidecar_works_if_nobody_reads_its_log() {
    let bao = bao();
    let agent = fresh(bao, "arc-runners/data/unread");
    let mut command = agent.command_for("sidecar");
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    put(bao, "arc-runners/data/unread", "canary-second");
    agent.until("the change", |agent| {
        agent.text("a").as_deref() == Some("canary-second")
    });
    crate::process::send("-TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn process_1_obeys_signals_too() {
    let agent = fresh(bao(), "arc-runners/data/first-process");
    let sidecar = agent.command_for("sidecar");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child=KILL"]);
    if !Command::new("unshare")
        .args(["--pid", "--fork", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("skipped: no namespace can be made here (needs root)");
        return;
    }
    command.arg(sidecar.get_program()).args(sidecar.get_args());
    command
        .env_clear()
        .envs(sidecar.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = agent.sidecar_by(command);
    running.until_said("with the client token of podkey-init");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.id())).unwrap();
    let inner = children.split_whitespace().next().unwrap();
    let status = fs::read_to_string(format!("/proc/{inner}/status")).unwrap();
    assert!(
        status
            .lines()
            .any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")),
        "{status}"
    );
    Command::new("kill").args(["-TERM", inner]).status().unwrap();
    running.ended();
}

#[test]
fn a_foreign_404_removes_no_file() {
    let good = || answer(200, &secret_body(r#"{"data":{"a":"first"},"metadata":{"version":1}}"#));
    let pages = [
        "default backend - 404",
        r#"{"status":404,"error":"Not Found"}"#,
        // The engine's mount, not the secret: a standby says so that has not heard of it yet.
        r#"{"errors":["no handler for route \"kv/data/web\". route entry not found."]}"#,
    ];
    for (when_gone, page) in [("delete", pages[0]), ("fail", pages[1]), ("delete", pages[2])] {
        let fake = FakeVault::plain(logged_in(move |_, n| match n {
            0 => good(),
            _ => answer(404, page),
        }));
        let agent = Agent::for_fake(&fake)
            .refresh("5s")
            .with("/files/0/whenGone", json!(when_gone));
        agent.run().expect(0, &[]);
        let sidecar = agent.sidecar();
        agent.until("the state", |agent| agent.status()["state"] == "stale");
        assert_eq!(agent.text("a").as_deref(), Some("first"));
        sidecar.stop();
    }
}

#[test]
fn a_request_that_the_server_refuses_is_no_reason_to_log_in_again() {
    let good = || answer(200, &secret_body(r#"{"data":{"a":"first"},"metadata":{"version":1}}"#));
    let fake = FakeVault::plain(logged_in(move |_, n| match n {
        0 => good(),
        _ => answer(400, r#"{"errors":["common name web not allowed by this role"]}"#),
    }));
    let agent = Agent::for_fake(&fake).refresh("5s");
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    agent.until("the state", |agent| agent.status()["state"] == "stale");
    let reason = agent.status()["files"]["a"]["reason"].to_string();
    assert!(reason.contains("not allowed by this role"), "{reason}");
    let log = sidecar.stop();
    assert!(log.iter().all(|line| line["message"] != "logged in"), "{log:?}");
}

#[test]
fn a_warning_that_the_server_sends_with_each_read_is_logged_once() {
    let read = |value: &str| {
        let body =
            format!(r#"{{"data":{{"data":{{"a":"{value}"}},"metadata":{{"version":1}}}},"warnings":["old engine"]}}"#);
        answer(200, &body)
    };
    let fake = FakeVault::plain(logged_in(move |_, n| read(&format!("value-{}", n.min(2)))));
    let agent = Agent::for_fake(&fake).refresh("5s");
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    agent.until("a third read", |agent| agent.text("a").as_deref() == Some("value-2"));
    let log = sidecar.stop();
    let loud = log.iter().filter(|line| line["level"] == "WARN");
    let warned = loud.filter(|line| line["warning"] == "old engine").count();
    assert_eq!(warned, 1, "{log:?}");
}

#[test]
fn secrets_that_grow_too_large_together_leave_the_files_as_they_are() {
    let good = |value: &str| {
        answer(
            200,
            &secret_body(&format!(r#"{{"data":{{"a":"{value}"}},"metadata":{{"version":1}}}}"#)),
        )
    };
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let fake = FakeVault::plain(logged_in(move |_, n| match n {
        0 => good("first"),
        _ if !is_mended.load(Ordering::SeqCst) => good(&"x".repeat(1024 * 1024)),
        _ => good("last"),
    }));
    let mut agent = Agent::for_fake(&fake).refresh("5s");
    for number in 1..64 {
        agent = agent.file(json!({
            "secret": "kv/data/web", "key": "a", "format": "raw", "file": format!("a{number}"), "mode": "0440",
        }));
    }
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    agent.until("the state", |agent| agent.status()["state"] == "invalid");
    for place in ["a", "a1", "a63"] {
        assert_eq!(agent.text(place).as_deref(), Some("first"), "none of them");
    }
    let reason = agent.status()["files"]["a"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("larger than 4 MiB"), "{reason}");
    mended.store(true, Ordering::SeqCst);
    agent.until("better days", |agent| agent.text("a63").as_deref() == Some("last"));
    sidecar.stop();
}

#[test]
fn an_unwritten_change_that_is_undone_leaves_nothing_to_do() {
    let good = |data: &str| {
        answer(
            200,
            &secret_body(&format!(r#"{{"data":{data},"metadata":{{"version":1}}}}"#)),
        )
    };
    let fake = FakeVault::plain(logged_in(move |_, n| match n {
        1 => good(r#"{"a":"x","b":"y"}"#),
        _ => good(r#"{"a":"x"}"#),
    }));
    let agent = Agent::for_fake(&fake).refresh("5s").with(
        "/files",
        json!([{
            "secret": "kv/data/web", "format": "raw", "file": "{{ .SecretKey }}", "mode": "0440", "whenGone": "delete",
        }]),
    );
    agent.run().expect(0, &[]);
    // Nothing of podkey's: it is not replaced.
    fs::write(agent.secrets().join("b"), "foreign").unwrap();
    let sidecar = agent.sidecar();
    sidecar.until_said("the files could not be changed");
    // It would be tried again after a minute.
    sleep(Duration::from_secs(62));
    let status = || {
        fs::metadata(agent.secrets().join(".status.json"))
            .map(|file| file.ino())
            .ok()
    };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        seen.extend(status());
        sleep(Duration::from_millis(10));
    }
    // One for each read.
    assert!(seen.len() < 10, "told {} times and more in two seconds", seen.len());
    sidecar.stop();
}

/// A KV v2 secret's answer with this in its field `a`.
fn secret(value: &str) -> Reply {
    let data = format!(r#"{{"data":{{"a":"{value}"}},"metadata":{{"version":1}}}}"#);
    answer(200, &secret_body(&data))
}

/// A pod with another file `b`, of another secret.
fn with_another(fake: &FakeVault) -> Agent {
    Agent::for_fake(fake)
        .refresh("5s")
        .file(json!({"secret": "kv/data/other", "key": "a", "format": "raw", "file": "b", "mode": "0440"}))
}

#[test]
fn one_failing_secret_does_not_stop_the_others_and_in_an_outage_all_are_stale() {
    let is_away = Arc::new(AtomicBool::new(false));
    let away = Arc::clone(&is_away);
    let fake = FakeVault::plain(logged_in(move |request, n| match n {
        0 | 1 => secret("first"),
        _ if request.target == "/v1/kv/data/web" || away.load(Ordering::SeqCst) => {
            answer(503, r#"{"errors":["this path is down"]}"#)
        }
        n => secret(&format!("value-{n}")),
    }));
    let agent = with_another(&fake);
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    let mut seen = std::collections::BTreeSet::new();
    agent.until("several changes of the other", |agent| {
        seen.extend(agent.text("b"));
        seen.len() == 4 && agent.status()["files"]["a"]["state"] == "stale"
    });
    assert_eq!(agent.text("a").as_deref(), Some("first"));
    is_away.store(true, Ordering::SeqCst);
    agent.until("the other is stale too", |agent| {
        let of_other = &agent.status()["files"]["b"];
        of_other["state"] == "stale" && of_other["reason"].to_string().contains("this path is down")
    });
    sidecar.stop();
}

#[test]
fn no_file_is_fresh_when_the_token_has_ended_and_the_login_is_refused() {
    let logins = AtomicUsize::new(0);
    let fake = FakeVault::plain(move |request: &Request, n| match request.target.ends_with("/login") {
        // A token of ten seconds, and no other.
        true if logins.fetch_add(1, Ordering::SeqCst) == 0 => answer(
            200,
            &login_body()
                .replace("600", "10")
                .replace("\"renewable\":true", "\"renewable\":false"),
        ),
        true => answer(403, r#"{"errors":["service account name not authorized"]}"#),
        false => logged_in(|_, _| secret("first"))(request, n),
    });
    let agent = Agent::for_fake(&fake).refresh("5s");
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    agent.until("the state", |agent| agent.status()["files"]["a"]["state"] == "stale");
    let told = agent.status()["files"]["a"].clone();
    assert!(
        told["reason"].to_string().contains("does not accept this pod's token"),
        "{told}"
    );
    assert!(told["nextTry"].is_string(), "{told}");
    assert_eq!(agent.text("a").as_deref(), Some("first"));
    sidecar.stop();
}

#[test]
fn a_login_at_a_missing_auth_method_is_logged() {
    let fake = FakeVault::plain(|_: &Request, _| answer(404, r#"{"errors":["no handler for route"]}"#));
    let agent = Agent::for_fake(&fake).refresh("5s");
    let sidecar = agent.sidecar();
    sidecar.until_said("the login failed");
    let warned = sidecar.said("the login failed").remove(0);
    assert_eq!(warned["level"], "WARN");
    assert!(
        warned["reason"].to_string().contains("no auth method is mounted"),
        "{warned}"
    );
    sidecar.stop();
}

#[test]
fn files_of_one_secret_stay_together_if_one_cannot_be_rendered() {
    let pair = |cert: &str, key: &str, version: u64| {
        let data = format!(r#"{{"data":{{"cert":"{cert}","key":"{key}"}},"metadata":{{"version":{version}}}}}"#);
        answer(200, &secret_body(&data))
    };
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let fake = FakeVault::plain(logged_in(move |_, n| match n {
        0 => pair("b25l", "b25l", 1),
        _ if !is_mended.load(Ordering::SeqCst) => pair("dHdv", "no base64!", 2),
        _ => pair("dGhyZWU=", "dGhyZWU=", 3),
    }));
    let file = |key: &str| json!({"secret": "kv/data/web", "key": key, "decode": "base64", "format": "raw", "file": key, "mode": "0440"});
    let agent = Agent::for_fake(&fake)
        .refresh("5s")
        .with("/files", json!([file("cert"), file("key")]))
        .with("/refresh/onChange", json!(["touch:changed"]));
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    let pair = || ["cert", "key"].map(|place| agent.text(place).unwrap());
    agent.until("the state", |agent| agent.status()["state"] == "invalid");
    assert_eq!(pair(), ["one", "one"], "no half of the second version");
    for place in ["cert", "key"] {
        let told = agent.status()["files"][place].clone();
        assert_eq!(
            (&told["state"], &told["version"]),
            (&json!("invalid"), &json!(1)),
            "{told}"
        );
        assert!(told["reason"].to_string().contains("base64"), "{told}");
    }
    assert_eq!(agent.seen("changed"), None, "nothing changed");
    mended.store(true, Ordering::SeqCst);
    agent.until("the third version", |agent| {
        agent.text("key").as_deref() == Some("three")
    });
    assert_eq!(pair(), ["three", "three"]);
    agent.until("the state", |agent| agent.status()["state"] == "fresh");
    sidecar.stop();
}

#[test]
fn two_entries_that_make_the_same_variable_leave_the_files_as_they_are() {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let fake = FakeVault::plain(logged_in(move |_, n| {
        let data = match n {
            0 => r#"{"data":{"a":"one","p_b":"one"},"metadata":{"version":1}}"#,
            // Both make P_A of it.
            _ if !is_mended.load(Ordering::SeqCst) => r#"{"data":{"a":"two","p_a":"two"},"metadata":{"version":2}}"#,
            _ => r#"{"data":{"a":"three","p_b":"three"},"metadata":{"version":3}}"#,
        };
        answer(200, &secret_body(data))
    }));
    let set = |prefix: &str| json!({"secret": "kv/data/web", "select": {"upperCase": {"prefix": prefix}}});
    let agent = Agent::for_fake(&fake)
        .refresh("5s")
        .with("/files", json!([]))
        .with("/env", json!([set(""), set("P_")]));
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    agent.until("the state", |agent| agent.status()["state"] == "invalid");
    for (place, text) in [
        ("env/A", Some("one")),
        ("env/P_B", Some("one")),
        ("env/P_A", Some("one")),
    ] {
        assert_eq!(agent.text(place).as_deref(), text, "{place}");
    }
    mended.store(true, Ordering::SeqCst);
    agent.until("better days", |agent| agent.text("env/P_A").as_deref() == Some("three"));
    sidecar.stop();
}

#[test]
fn a_secret_that_was_missing_at_the_start_may_be_a_credential_unless_it_is_kv_v2() {
    let fake = FakeVault::plain(logged_in(|request, _| match request.target.as_str() {
        "/v1/kv/data/web" => secret("there"),
        _ => answer(404, r#"{"errors":[]}"#),
    }));
    let file =
        |secret: &str, file: &str| json!({"secret": secret, "key": "a", "format": "raw", "file": file, "mode": "0440"});
    let agent = Agent::for_fake(&fake)
        .refresh("5s")
        .with("/ignoreNotFound", json!(true))
        .file(file("kv/data/other", "other"))
        .file(file("database/creds/web", "user"));
    agent.run().expect(0, &["delivered 1 file"]);
    let handed: Value = serde_json::from_slice(&fs::read(handover(&agent)).unwrap()).unwrap();
    assert_eq!(handed["delivered"]["sources"], json!(["static", "static", "unknown"]));
    // So it is for a sidecar that has the status alone.
    fs::remove_file(handover(&agent)).unwrap();
    for _ in 0..2 {
        let sidecar = agent.sidecar();
        sidecar.until_said("logged in");
        agent.until("what is told", |agent| {
            agent.status()["files"]["user"]["nextTry"].is_string()
        });
        let ttl = |place: &str| agent.status()["files"][place]["ttlSeconds"].clone();
        assert_eq!(
            [ttl("a"), ttl("other"), ttl("user")],
            [Value::Null, Value::Null, json!(0)]
        );
        sidecar.kill();
    }
}

#[test]
fn a_server_that_sends_retry_after_gets_no_request_before() {
    for status in [429, 503] {
        let fake = FakeVault::plain(logged_in(move |_, n| match n {
            0 => secret("first"),
            _ => with_headers(
                status,
                "Content-Type: application/json\r\nRetry-After: 200\r\n",
                r#"{"errors":[]}"#,
            ),
        }));
        let agent = Agent::for_fake(&fake).refresh("5s");
        agent.run().expect(0, &[]);
        let sidecar = agent.sidecar();
        agent.until("the state", |agent| agent.status()["state"] == "stale");
        let told = agent.status();
        let at = |text: &Value| humantime::parse_rfc3339(text.as_str().unwrap()).unwrap();
        let wait = at(&told["files"]["a"]["nextTry"])
            .duration_since(at(&told["updated"]))
            .unwrap();
        assert!(wait >= Duration::from_secs(199), "{status}: {wait:?}");
        sidecar.stop();
    }
}

#[test]
fn a_failed_start_leaves_no_token_of_init_at_the_server() {
    let fake = FakeVault::plain(logged_in(|_, _| secret("first")));
    let outside = tempfile::tempdir().unwrap();
    let agent = Agent::for_fake(&fake).refresh("5s");
    agent.run().expect(0, &[]);
    fs::remove_dir_all(agent.secrets()).unwrap();
    std::os::unix::fs::symlink(outside.path(), agent.secrets()).unwrap();
    let sidecar = agent.sidecar();
    sidecar.until_said("the files stay as they are");
    assert!(!handover(&agent).exists());
    let log = sidecar.stop();
    assert_eq!(fake.requests().last().unwrap().target, "/v1/auth/token/revoke-self");
    assert!(
        log.last().unwrap()["message"].to_string().contains("nothing was left"),
        "{log:?}"
    );
}

#[test]
fn while_one_secret_is_denied_no_log_line_says_that_all_is_well() {
    let allowed = Arc::new(AtomicBool::new(false));
    let is_allowed = Arc::clone(&allowed);
    let fake = FakeVault::plain(logged_in(move |request, n| match n {
        0 | 1 => secret("first"),
        n if request.target != "/v1/kv/data/web" => secret(&format!("value-{n}")),
        _ if is_allowed.load(Ordering::SeqCst) => secret("last"),
        _ => answer(403, r#"{"errors":["permission denied"]}"#),
    }));
    let agent = with_another(&fake);
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    let mut seen = std::collections::BTreeSet::new();
    agent.until("several changes of the other", |agent| {
        if agent.status()["files"]["a"]["state"] == "denied" {
            seen.extend(agent.text("b"));
        }
        seen.len() == 3
    });
    let again = "the server answers as it should again";
    assert!(sidecar.said(again).is_empty(), "{:?}", sidecar.log());
    allowed.store(true, Ordering::SeqCst);
    agent.until("better days", |agent| agent.text("a").as_deref() == Some("last"));
    sidecar.until_said(again);
    sidecar.stop();
}

#[test]
fn logins_without_an_answer_are_logged_once_a_minute() {
    let fake = FakeVault::plain(|_: &Request, _| Reply::Last(Vec::new()));
    let agent = Agent::for_fake(&fake).refresh("5s");
    let sidecar = agent.sidecar();
    agent.until("three logins", |_| fake.requests().len() == 3);
    let log = sidecar.stop();
    let warned: Vec<_> = log.iter().filter(|line| line["level"] == "WARN").collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
}

#[test]
fn each_file_has_its_own_entry_and_ttl_in_the_status_of_init() {
    let fake = FakeVault::plain(logged_in(|request, _| {
        let ttl = request.body.len();
        let lease = format!(r#""lease_id":"pki/issue/web/x","renewable":false,"lease_duration":{ttl}"#);
        answer(200, &format!(r#"{{{lease},"data":{{"a":"canary-first"}}}}"#))
    }));
    let of = |common_name: &str, file: &str| {
        json!({
            "secret": "pki/issue/web", "data": {"common_name": common_name}, "key": "a", "format": "raw", "file": file,
            "mode": "0440",
        })
    };
    let agent = Agent::for_fake(&fake).refresh("5s").with(
        "/files",
        json!([of("a", "short"), of("a-longer-name", "podkey/secrets/x")]),
    );
    agent.run().expect(0, &["delivered 2 files"]);
    let status = agent.status();
    let files: Vec<_> = status["files"].as_object().unwrap().iter().collect();
    let ttls: Vec<_> = files
        .iter()
        .map(|(place, file)| (place.as_str(), &file["ttlSeconds"]))
        .collect();
    assert_eq!(
        ttls,
        [
            ("podkey/secrets/x", &json!(r#"{"common_name":"a-longer-name"}"#.len())),
            ("short", &json!(r#"{"common_name":"a"}"#.len())),
        ]
    );
}
