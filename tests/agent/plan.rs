//! Bad plans, budgets and command lines: exit code 64, a reason, and no request.

use std::process::Command;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};

#[test]
fn a_bad_plan_is_refused_before_any_request() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"a":"1"}"#))));
    let agent = || Agent::for_fake(&fake);
    for (bad, text) in [
        (agent().raw_plan(""), "does not parse"),
        (agent().raw_plan("{"), "does not parse"),
        (agent().with("/version", json!(99)), "version 99"),
        (agent().with("/surprise", json!(1)), "surprise"),
        (agent().with("/files", json!([])), "no file and no variable"),
        (
            agent().with("/connection/allowInsecureHttp", json!(false)),
            "allowInsecureHttp",
        ),
        (
            agent().with("/connection/address", json!("http://u:p@127.0.0.1")),
            "user",
        ),
        (agent().with("/connection/namespace", json!("a\nb")), "'\\n'"),
        (agent().with("/login/mount", json!("../sys")), ". or .."),
        (
            agent().with("/files/0/secret", json!("secret/data/../../sys/mounts")),
            ". or ..",
        ),
        (agent().with("/files/0/secret", json!("secret/data/%2e%2e/x")), "'%'"),
        (agent().with("/files/0/secret", json!("secret/data/x?list=true")), "'?'"),
        (agent().with("/files/0/file", json!("../../etc/passwd")), ". or .."),
        (agent().with("/files/0/mode", json!("4755")), "setuid"),
        (
            agent().with(
                "/files/0",
                json!({"secret": "a/b", "format": "raw", "file": "x", "mode": "0400"}),
            ),
            "needs a key",
        ),
        (agent().raw_plan(&" ".repeat(100_000)), "longer than"),
    ] {
        let run = bad.run();
        run.expect(64, &["PODKEY_PLAN", text]);
        assert!(run.termination.contains("PODKEY_PLAN"));
    }
    for budget in ["", "x", "0s", "16m", "-5s", "\u{1b}"] {
        agent().budget(budget).run().expect(64, &["PODKEY_BUDGET"]);
    }
    assert_eq!(fake.connections(), 0);
}

#[test]
fn a_missing_plan_and_a_bad_command_line_are_reported() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_podkey-agent"))
            .args(args)
            .env_clear()
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (
            output.status.code().unwrap(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let dir = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run(&["init", "--root", dir.path().to_str().unwrap()]);
    assert_eq!(code, 64);
    assert!(stderr.contains("PODKEY_PLAN is not set"), "{stderr}");
    for args in [&["nope"][..], &[], &["init", "--log-format", "xml"], &["init", "extra"]] {
        let (code, _, stderr) = run(args);
        assert_eq!(code, 64, "{args:?}");
        let last: serde_json::Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&last["code"], &last["stage"]),
            (&64.into(), &"usage".into()),
            "{stderr}"
        );
    }
    let (code, _, stderr) = run(&["init", "--log-format", "text", "extra"]);
    assert_eq!(code, 64);
    let last = stderr.lines().last().unwrap();
    assert!(
        last.starts_with("podkey 64 stage=usage connection=-: the command line"),
        "{stderr}"
    );
    for args in [&["--version"][..], &["--help"], &["init", "--help"]] {
        let (code, stdout, _) = run(args);
        assert_eq!(code, 0);
        assert!(
            stdout.contains(if args[0] == "--version" {
                env!("CARGO_PKG_VERSION")
            } else {
                "init"
            }),
            "{stdout}"
        );
    }
}

#[test]
fn the_last_line_is_printed_at_every_log_level_in_the_format_of_the_others() {
    let fake = FakeVault::plain(logged_in(|_, _| answer(200, &secret_body(r#"{"a":"1"}"#))));
    let agent = Agent::for_fake(&fake).arg("--log-format").arg("text");
    let output = agent.command().output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(!stderr.lines().any(|line| line.starts_with('{')), "{stderr}");
    let termination = std::fs::read_to_string(agent.root().join("dev/termination-log")).unwrap();
    assert_eq!(stderr.lines().last(), Some(&*termination));
    assert!(termination.contains("delivered 1 file"), "{termination}");
    let quiet = Agent::for_fake(&fake).env("PODKEY_LOG", "off").run();
    quiet.expect(0, &[]);
    assert_eq!(quiet.stderr.lines().count(), 1);
    Agent::for_fake(&fake)
        .env("PODKEY_LOG", "nonsense")
        .run()
        .expect(0, &[]);
}
