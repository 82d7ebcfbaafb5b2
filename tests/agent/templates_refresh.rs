//! Templates that the sidecar makes anew: when one of several secrets changes, in one swap with the other files of the secret,
//! after a restart, and when a secret is gone or has bad data.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::engines::{engines, text};
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};
use crate::support::http::Request;
use crate::templates_init::{chosen, template};

/// The secret of a test.
fn path(test: &str, name: &str) -> String {
    format!("arc-runners/data/{test}-{name}")
}

fn put(test: &str, name: &str, value: &str) {
    bao().write(&path(test, name), &json!({"data": {"v": value}}));
}

fn raw(secret: &str, file: &str) -> Value {
    json!({"secret": secret, "key": "v", "format": "raw", "file": file, "mode": "0440"})
}

/// A template of two secrets: `A+B`, and `-` for a secret that is missing.
fn both(a: &str, b: &str, field: &str) -> Value {
    let value = |path: &str| format!("{{{{ with secret \"{path}\" }}}}{{{{ {field} }}}}{{{{ else }}}}-{{{{ end }}}}");
    template(&format!("{}+{}", value(a), value(b)), "both")
}

/// A pod with the files `a` and `b` of one secret each, and `both` of the two.
fn pod(test: &str) -> Agent {
    put(test, "a", "canary-a1");
    put(test, "b", "canary-b1");
    let (a, b) = (path(test, "a"), path(test, "b"));
    Agent::for_bao(bao())
        .refresh("5s")
        .canary("canary-a1")
        .canary("canary-a2")
        .canary("canary-b1")
        .canary("canary-b2")
        .file(raw(&a, "a"))
        .file(both(&a, &b, ".Data.data.v"))
        .file(raw(&b, "b"))
}

fn generation(agent: &Agent) -> PathBuf {
    agent
        .secrets()
        .join(fs::read_link(agent.secrets().join("..data")).unwrap())
}

/// The files `a`, `both` and `b` of one generation. None: the generation was just removed.
fn seen(agent: &Agent) -> Option<[String; 3]> {
    let now = generation(agent);
    let read = |name: &str| fs::read_to_string(now.join(name)).ok();
    Some([read("a")?, read("both")?, read("b")?])
}

#[track_caller]
fn until(agent: &Agent, expected: [&str; 3]) {
    agent.until(expected[1], |agent| {
        let Some(files) = seen(agent) else { return false };
        assert_eq!(
            files[1],
            format!("{}+{}", files[0], files[2]),
            "one generation has one state of each secret"
        );
        files == expected
    });
}

#[test]
fn a_template_changes_with_its_neighbours_when_one_of_its_secrets_changes() {
    let agent = pod("combined");
    agent.run().expect(0, &["delivered 3 files"]);
    let status = agent.status();
    let expected = format!("{}, {}", path("combined", "a"), path("combined", "b"));
    assert_eq!(status["files"]["both"]["secret"], *expected);
    assert_eq!(status["files"]["both"]["state"], "fresh");
    let sidecar = agent.sidecar();
    put("combined", "b", "canary-b2");
    until(&agent, ["canary-a1", "canary-a1+canary-b2", "canary-b2"]);
    put("combined", "a", "canary-a2");
    until(&agent, ["canary-a2", "canary-a2+canary-b2", "canary-b2"]);
    agent.until("a fresh status", |agent| agent.status()["state"] == "fresh");
    let status = agent.status();
    let both = &status["files"]["both"];
    assert_eq!(both["secret"], *expected);
    assert!(both["lastSuccess"].is_string() && both["nextTry"].is_string(), "{both}");
    assert!(both.get("version").is_none());
    sidecar.stop();
}

#[test]
fn a_sidecar_that_starts_again_reads_the_secrets_of_a_template_before_it_changes_the_template() {
    let agent = pod("restarted");
    agent.run().expect(0, &[]);
    let first = agent.sidecar();
    first.until_said("with the client token of podkey-init");
    first.kill();
    put("restarted", "b", "canary-b2");
    let second = agent.sidecar();
    until(&agent, ["canary-a1", "canary-a1+canary-b2", "canary-b2"]);
    put("restarted", "a", "canary-a2");
    until(&agent, ["canary-a2", "canary-a2+canary-b2", "canary-b2"]);
    second.stop();
}

#[test]
fn answers_that_are_too_large_for_the_handover_are_read_again() {
    let big = path("large", "big");
    bao().write(&big, &json!({"data": {"v": "canary-a1", "rest": "x".repeat(500_000)}}));
    put("large", "b", "canary-b1");
    let agent = Agent::for_bao(bao())
        .refresh("5s")
        .file(both(&big, &path("large", "b"), ".Data.data.v"));
    agent.run().expect(0, &[]);
    let handover = fs::metadata(agent.root().join("podkey/handover/handover.json")).unwrap();
    assert!(handover.len() < 100_000, "{}", handover.len());
    let sidecar = agent.sidecar();
    sidecar.until_said("with the client token of podkey-init");
    put("large", "b", "canary-b2");
    agent.until("the change", |agent| {
        agent.text("both").as_deref() == Some("canary-a1+canary-b2")
    });
    sidecar.stop();
}

#[test]
fn bad_data_of_one_file_keeps_the_template_of_the_secret_as_it_is() {
    let test = "refused";
    let mut agent = pod(test);
    agent.plan["files"][0]["decode"] = json!("base64");
    put(test, "a", "Y2FuYXJ5");
    agent.run().expect(0, &[]);
    let shown = |agent: &Agent| ["a", "both", "b"].map(|name| agent.text(name).unwrap());
    assert_eq!(shown(&agent), ["canary", "Y2FuYXJ5+canary-b1", "canary-b1"]);
    let sidecar = agent.sidecar();
    put(test, "a", "canary-a-no-base64");
    agent.until("invalid", |agent| agent.status()["files"]["both"]["state"] == "invalid");
    assert_eq!(agent.status()["files"]["a"]["state"], "invalid");
    assert_eq!(shown(&agent), ["canary", "Y2FuYXJ5+canary-b1", "canary-b1"]);
    // The other secret goes on, with the state of this secret that its own file shows.
    put(test, "b", "canary-b2");
    agent.until("the other secret", |agent| {
        shown(agent) == ["canary", "Y2FuYXJ5+canary-b2", "canary-b2"]
    });
    put(test, "a", "Y2FuYXJ5Mg==");
    agent.until("corrected", |agent| {
        shown(agent) == ["canary2", "Y2FuYXJ5Mg==+canary-b2", "canary-b2"]
    });
    agent.until("a fresh status", |agent| agent.status()["state"] == "fresh");
    sidecar.stop();
}

#[test]
fn a_template_whose_secret_is_gone_does_what_when_gone_says() {
    for (when_gone, left) in [
        ("keep", Some("canary-a1+canary-b1")),
        ("delete", None),
        ("fail", Some("")),
    ] {
        let test = format!("gone-{when_gone}");
        let mut agent = pod(&test);
        agent.plan["files"][1]["whenGone"] = json!(when_gone);
        agent.run().expect(0, &[]);
        let sidecar = agent.sidecar();
        bao().delete(&path(&test, "b"));
        agent.until("gone", |agent| agent.status()["files"]["both"]["state"] == "gone");
        agent.until("what when-gone says", |agent| match left {
            Some("") => fs::metadata(generation(agent).join("both")).is_ok_and(|found| found.len() == 0),
            left => agent.text("both").as_deref() == left,
        });
        // Still gone, whatever the other secret does.
        put(&test, "a", "canary-a2");
        agent.until("the other secret", |agent| {
            agent.text("a").as_deref() == Some("canary-a2")
        });
        assert_eq!(agent.status()["files"]["both"]["state"], "gone");
        put(&test, "b", "canary-b2");
        let back = ["canary-a2", "canary-a2+canary-b2", "canary-b2"].map(str::to_owned);
        agent.until("all are back", |agent| seen(agent).as_ref() == Some(&back));
        sidecar.stop();
    }
}

#[test]
fn with_ignore_not_found_a_template_is_made_without_the_secret_that_is_gone() {
    let test = "ignored";
    let agent = pod(test).with("/ignoreNotFound", json!(true));
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    bao().delete(&path(test, "b"));
    agent.until("without", |agent| agent.text("both").as_deref() == Some("canary-a1+-"));
    agent.until("the status", |agent| {
        let files = &agent.status()["files"];
        files["both"]["state"] == "fresh" && files["b"]["state"] == "gone"
    });
    put(test, "b", "canary-b2");
    let back = ["canary-a1", "canary-a1+canary-b2", "canary-b2"].map(str::to_owned);
    agent.until("all are back", |agent| seen(agent).as_ref() == Some(&back));
    sidecar.stop();
}

#[test]
fn a_secret_that_was_missing_at_the_start_joins_the_template_when_it_is_there() {
    let test = "late";
    put(test, "a", "canary-a1");
    let agent = Agent::for_bao(bao())
        .refresh("5s")
        .with("/ignoreNotFound", json!(true))
        .file(both(&path(test, "a"), &path(test, "b"), ".Data.data.v"));
    agent.run().expect(0, &[]);
    assert_eq!(agent.text("both").as_deref(), Some("canary-a1+-"));
    let sidecar = agent.sidecar();
    put(test, "a", "canary-a2");
    agent.until("without", |agent| agent.text("both").as_deref() == Some("canary-a2+-"));
    put(test, "b", "canary-b1");
    agent.until("with", |agent| {
        agent.text("both").as_deref() == Some("canary-a2+canary-b1")
    });
    sidecar.stop();
}

/// The server gives `b` and denies `a` to a sidecar that was started again: of `b` alone no template can be made.
#[test]
fn files_wait_until_every_secret_of_their_template_was_read() {
    let denied = Arc::new(AtomicUsize::new(0));
    let denies = Arc::clone(&denied);
    let fake = FakeVault::plain(logged_in(move |request: &Request, _| {
        let later = denies.load(Ordering::SeqCst);
        match request.target.as_str() {
            "/v1/kv/data/a" if later == 1 => answer(403, r#"{"errors":["permission denied"]}"#),
            "/v1/kv/data/a" => answer(200, &secret_body(r#"{"v":"canary-a1"}"#)),
            _ => answer(200, &secret_body(&json!({"v": format!("canary-b{later}")}).to_string())),
        }
    }));
    let mut agent = Agent::for_fake(&fake).refresh("5s");
    agent.plan["files"] = json!([
        raw("kv/data/a", "a"),
        both("kv/data/a", "kv/data/b", ".Data.v"),
        raw("kv/data/b", "b")
    ]);
    agent.run().expect(0, &[]);
    fs::remove_file(agent.root().join("podkey/handover/handover.json")).unwrap();
    denied.store(1, Ordering::SeqCst);
    let sidecar = agent.sidecar();
    agent.until("denied", |agent| agent.status()["files"]["both"]["state"] == "denied");
    agent.until("waiting", |agent| agent.status()["files"]["b"]["state"] == "stale");
    let reason = agent.status()["files"]["b"]["reason"].clone();
    assert!(reason.as_str().unwrap().contains("needs kv/data/a too"), "{reason}");
    assert_eq!(seen(&agent).unwrap(), ["canary-a1", "canary-a1+canary-b0", "canary-b0"]);
    denied.store(2, Ordering::SeqCst);
    until(&agent, ["canary-a1", "canary-a1+canary-b2", "canary-b2"]);
    agent.until("a fresh status", |agent| agent.status()["state"] == "fresh");
    sidecar.stop();
}

/// Renewed at 20 s, and replaced before its maximum of 44 s.
#[test]
fn a_lease_that_is_issued_again_makes_the_template_anew_and_a_renewed_lease_does_not() {
    let bao = &engines().bao;
    bao.database_role("combined", "30s", "44s");
    bao.write("app/data/lease", &json!({"data": {"v": "canary-of-kv"}}));
    let text_of = r#"{{ with secret "app/data/lease" }}{{ .Data.data.v }}{{ end }} {{ with secret "database/creds/combined" }}{{ .Data.username }} {{ .LeaseDuration }}{{ end }}"#;
    let agent = crate::engines::agent()
        .refresh("5s")
        .canary("canary-of-kv")
        .file(template(text_of, "made"));
    agent.run().expect(0, &[]);
    let status = &agent.status()["files"]["made"];
    assert!(
        status["leased"] == true && status["ttlSeconds"].as_u64().is_some_and(|ttl| ttl <= 30),
        "{status}"
    );
    let first = text(&agent, "files/made");
    let sidecar = agent.sidecar();
    agent.until("a renewal", |_| !sidecar.said("lease renewed").is_empty());
    assert_eq!(agent.text("made").unwrap(), first);
    agent.until("another user", |agent| {
        agent.text("made").is_some_and(|made| made != first)
    });
    let made = agent.text("made").unwrap();
    let user = |made: &str| made.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(made, first.replace(&user(&first), &user(&made)));
    // The sidecar shows the changed file first, and then logs the change.
    sidecar.until_said("file changed");
    let mut log = sidecar.stop();
    log.retain(|line| line["message"] == "file changed");
    assert_eq!(log.len(), 1, "{log:?}");
}

#[test]
fn chosen_fields_change_in_every_format_in_one_swap() {
    let secret = path("chosen", "all");
    let write = |quote: &str| {
        let data = json!({"quote": quote, "lines": "a", "umlaut": "b", "number": 1, "yes": "on", "empty": ""});
        bao().write(&secret, &json!({"data": data}));
    };
    write("canary-first");
    let formats = ["json", "yaml", "dotenv", "shell", "properties"];
    let mut agent = Agent::for_bao(bao())
        .refresh("5s")
        .canary("canary-first")
        .canary("canary-second");
    for format in formats {
        agent = agent.file(chosen(&secret, format, format));
    }
    agent.run().expect(0, &["delivered 5 files"]);
    let sidecar = agent.sidecar();
    write("canary-second");
    agent.until("the change", |agent| {
        let now = generation(agent);
        let Some(files) = formats
            .iter()
            .map(|format| fs::read_to_string(now.join(format)).ok())
            .collect::<Option<Vec<_>>>()
        else {
            return false;
        };
        let changed = files.iter().filter(|file| file.contains("canary-second")).count();
        assert!([0, 5].contains(&changed), "{files:?}");
        changed == 5
    });
    assert!(
        agent
            .text("shell")
            .unwrap()
            .starts_with("export Z_QUOTE=canary-second\n")
    );
    sidecar.stop();
}
