//! What the other parts of a pod see of refreshed files: the runner's job hooks, a command that `exec` starts, an app that is
//! informed of a change; and a change that does not fit into the volume.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::deliver::bao;
use crate::job_pod::Pod;
use crate::sidecar_process::fresh;
use crate::support::agent::Agent;
use crate::volume::Tmpfs;

/// The runner sees the directory that the sidecar changes.
fn mount(pod: &Pod) {
    let secrets = pod.path("podkey/secrets");
    std::fs::create_dir_all(secrets.parent().unwrap()).unwrap();
    symlink(pod.agent.secrets(), secrets).unwrap();
}

#[test]
fn a_job_on_a_warm_runner_gets_the_current_secrets_when_it_starts() {
    let bao = bao();
    let secret = "arc-runners/data/warm";
    let put = |value: &str| drop(bao.write(secret, &json!({"data": {"a": value, "b": value}})));
    put("canary-of-yesterday");
    let mut pod = Pod::new(Agent::for_bao(bao).refresh("5s"))
        .file(json!({"secret": secret, "key": "a", "format": "raw", "file": "a", "mode": "0400", "whenGone": "delete"}))
        .file(json!({"secret": secret, "key": "b", "format": "raw", "file": "deep/b", "mode": "0400"}))
        .env(secret, "a", "API_TOKEN")
        .canary("canary-of-yesterday")
        .canary("canary-of-today");
    pod.init().expect(0, &["delivered 2 files and 1 variable"]);
    mount(&pod);
    let sidecar = pod.agent.sidecar();
    put("canary-of-today");
    pod.agent.until("the change", |agent| {
        agent.text("env/API_TOKEN").as_deref() == Some("canary-of-today")
    });
    pod.agent.until("what is delivered is told", |agent| {
        std::fs::read_to_string(agent.root().join("podkey/bin/outcome.json"))
            .unwrap()
            .contains("\"version\":2")
    });
    let log = {
        for place in ["a", "deep/b"] {
            pod.runner.watch(&pod.agent.text(place).unwrap());
        }
        let step = pod.started();
        step.succeeds();
        assert_eq!(step.variable("API_TOKEN"), Some("canary-of-today"));
        assert!(step.summary.contains(secret), "{}", step.summary);
        // The files are the sidecar's: they stay, through the next hook too.
        let done = pod.completed();
        done.succeeds();
        assert!(
            !done.log.iter().any(|line| line.contains("could not be cleared")),
            "{:?}",
            done.log
        );
        for place in ["a", "deep/b", "env/API_TOKEN"] {
            assert_eq!(pod.agent.text(place).as_deref(), Some("canary-of-today"));
        }
        step.log
    };
    assert!(
        log.iter().any(|line| line.contains("/podkey/secrets/deep/b")),
        "{log:?}"
    );
    // What is not there any more is not missed.
    bao.write(secret, &json!({"data": {"b": "canary-of-today"}}));
    pod.agent.until("the file is gone", |agent| agent.text("a").is_none());
    pod.agent.until("what is delivered is told", |agent| {
        !std::fs::read_to_string(agent.root().join("podkey/bin/outcome.json"))
            .unwrap()
            .contains("/podkey/secrets/a\"")
    });
    pod.started().succeeds();
    drop(sidecar);
}

#[test]
fn a_container_that_starts_again_gets_the_current_variables() {
    let bao = bao();
    let secret = "arc-runners/data/started-again";
    let put = |value: &str| drop(bao.write(secret, &json!({"data": {"a": value}})));
    put("first");
    let mut pod = Pod::new(Agent::for_bao(bao).refresh("5s"))
        .env(secret, "a", "API_TOKEN")
        .with("/exec", json!(true));
    pod.agent.plan.as_object_mut().unwrap().remove("job");
    pod.init().expect(0, &["delivered 0 files and 1 variable"]);
    mount(&pod);
    let sees = |value: &str| {
        let mut exec = Command::new(pod.path("podkey/bin/podkey-agent"));
        exec.args(["exec", "--root"])
            .arg(pod.agent.root())
            .args(["--", "/usr/bin/printenv", "API_TOKEN"]);
        let output = exec.env_clear().stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap() == format!("{value}\n")
    };
    assert!(sees("first"));
    let sidecar = pod.agent.sidecar();
    put("second");
    pod.agent.until("the change", |agent| {
        agent.text("env/API_TOKEN").as_deref() == Some("second")
    });
    assert!(sees("second"));
    sidecar.stop();
}

#[test]
fn a_change_that_does_not_fit_into_the_volume_waits_for_room() {
    let bao = bao();
    let secret = "arc-runners/data/too-large";
    let agent = Agent::for_bao(bao).refresh("5s");
    let put = |value: &str| drop(bao.write(secret, &json!({"data": {"a": value}})));
    put("first");
    let agent = agent.file(json!({"secret": secret, "key": "a", "format": "raw", "file": "a", "mode": "0440"}));
    let volume = agent.volume();
    let Some(_mounted) = Tmpfs::mount(&volume, "size=128k") else {
        return;
    };
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    put(&"x".repeat(300_000));
    agent.until("it is told", |agent| {
        agent.status()["files"]["a"]["state"] == "unwritten"
    });
    assert_eq!(agent.text("a").as_deref(), Some("first"));
    let mut warned = sidecar.said("the files could not be changed");
    warned.retain(|line| line["level"] == "WARN");
    assert_eq!(warned.len(), 1, "{:?}", sidecar.log());
    assert!(warned[0]["hint"].to_string().contains("sizeLimit"), "{}", warned[0]);
    put("third");
    agent.until("what fits", |agent| agent.text("a").as_deref() == Some("third"));
    agent.until("it is told", |agent| agent.status()["state"] == "fresh");
    sidecar.stop();
}

#[test]
fn the_app_is_informed_after_a_change_and_only_of_changes() {
    let bao = bao();
    let secret = "arc-runners/data/told";
    let agent = fresh(bao, secret).with("/refresh/onChange", json!(["touch:changed"]));
    let sidecar = agent.sidecar();
    agent.until("a read", |_| {
        let asked = bao
            .audit()
            .into_iter()
            .filter(|entry| entry["type"] == "response" && entry["request"]["path"] == secret);
        asked.count() >= 2
    });
    assert_eq!(agent.seen("changed"), None, "nothing changed");
    crate::sidecar_process::put(bao, secret, "canary-second");
    agent.until("it is told", |agent| agent.seen("changed").is_some());
    assert_eq!(
        agent.text("a").as_deref(),
        Some("canary-second"),
        "the change came first"
    );
    sidecar.stop();
    // A sidecar that starts again does not touch the file.
    let sidecar = agent.sidecar();
    sidecar.until_said("keeping the files fresh");
    sidecar.stop();
    assert_eq!(agent.seen("changed"), Some(Vec::new()));
}
