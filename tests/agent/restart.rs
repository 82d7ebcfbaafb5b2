//! `on-change: restart`: a change ends the sidecar with the code by which the kubelet restarts all containers of the pod, `podkey-init`
//! first. Here the test is the kubelet.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::sidecar_process::{accessors, lives, put};
use crate::support::agent::Agent;
use crate::support::openbao::OpenBao;

/// What the kubelet's rule names.
const RESTART: i32 = 79;

/// A pod whose containers a change restarts, `init` done.
fn pod(bao: &OpenBao, secrets: &[&str]) -> Agent {
    let mut agent = Agent::for_bao(bao)
        .refresh("5s")
        .with("/refresh/onChange", json!(["restart"]))
        .canary("canary-first")
        .canary("canary-second");
    for (secret, file) in secrets.iter().zip(["a", "b"]) {
        put(bao, secret, "canary-first");
        agent = agent.file(json!({"secret": secret, "key": "a", "format": "raw", "file": file, "mode": "0440"}));
    }
    agent.run().expect(0, &["delivered"]);
    agent
}

fn notes(agent: &Agent) -> PathBuf {
    agent.root().join("podkey/handover/restarts.json")
}

fn noted(agent: &Agent) -> Value {
    serde_json::from_slice(&fs::read(notes(agent)).unwrap()).unwrap()
}

/// As if the last restart were long ago.
fn after_the_pause(agent: &Agent) {
    let mut noted = noted(agent);
    noted["last"] = json!({"secs": 0, "nanos": 0});
    fs::write(notes(agent), noted.to_string()).unwrap();
}

#[test]
fn a_change_ends_the_sidecar_for_a_restart_and_a_second_one_waits_for_the_pause() {
    let bao = bao();
    let secret = "arc-runners/data/restart";
    let agent = pod(bao, &[secret]);
    let sidecar = agent.sidecar();
    sidecar.until_said("with the client token of podkey-init");
    let accessor = sidecar.log()[0]["accessor"].as_str().unwrap().to_owned();
    assert!(lives(bao, &accessor));
    put(bao, secret, "canary-second");
    let log = sidecar.ended_with(RESTART);
    assert_eq!(
        agent.text("a").as_deref(),
        Some("canary-second"),
        "current before the end"
    );
    assert!(accessors(&log).is_empty());
    assert!(!lives(bao, &accessor), "no token is left");
    let last = log.last().unwrap()["message"].as_str().unwrap();
    assert!(
        last.contains("all containers of the pod restart") && last.ends_with("nothing was left at the server"),
        "{last}"
    );
    let termination = fs::read_to_string(agent.root().join("dev/termination-log")).unwrap();
    assert!(
        termination.starts_with("podkey 79 stage=refresh connection=main: secrets have changed"),
        "{termination}"
    );
    assert_eq!(noted(&agent)["pending"], false);

    // The containers start again, with the volumes as they are.
    agent.run().expect(0, &["delivered 1 file"]);
    assert_eq!(agent.text("a").as_deref(), Some("canary-second"));
    let mut sidecar = agent.sidecar();
    put(bao, secret, "canary-first");
    sidecar.until_said("the containers restart after the pause between two restarts");
    agent.until("the file is current meanwhile", |agent| {
        agent.text("a").as_deref() == Some("canary-first")
    });
    agent.until("the status too", |agent| agent.status()["files"]["a"]["version"] == 3);
    assert!(sidecar.runs());
    assert_eq!(noted(&agent)["pending"], true);

    // The restart is remembered by a sidecar that starts after a crash.
    sidecar.kill();
    after_the_pause(&agent);
    let log = agent.sidecar().ended_with(RESTART);
    let [accessor] = accessors(&log).try_into().unwrap();
    assert!(!lives(bao, &accessor));
}

#[test]
fn a_pod_that_starts_again_for_another_reason_does_not_restart_once_more() {
    let bao = bao();
    let secret = "arc-runners/data/restart-init";
    let agent = pod(bao, &[secret]);
    fs::write(notes(&agent), r#"{"last":null,"pending":true}"#).unwrap();
    let sidecar = agent.sidecar();
    sidecar.until_said("with the client token of podkey-init");
    agent.until("the note is gone", |agent| noted(agent)["pending"] == false);
    sidecar.stop();
}

/// The kubelet of an older node ignores the rule: the change was lost, and the containers kept the old values for ever.
#[test]
fn a_sidecar_that_restarts_alone_says_so_and_waits_for_the_pause() {
    let bao = bao();
    let secret = "arc-runners/data/restart-alone";
    let agent = pod(bao, &[secret]);
    let sidecar = agent.sidecar();
    sidecar.until_said("with the client token of podkey-init");
    put(bao, secret, "canary-second");
    sidecar.ended_with(RESTART);
    assert_eq!(noted(&agent)["begun"], true);

    let mut sidecar = agent.sidecar();
    sidecar.until_said("the kubelet restarted podkey-sidecar alone");
    agent.until("the restart waits", |agent| {
        let noted = noted(agent);
        noted["pending"] == true && noted["begun"] == false
    });
    assert!(sidecar.runs());
    sidecar.kill();
    after_the_pause(&agent);
    agent.sidecar().ended_with(RESTART);

    // Now the kubelet restarts all containers.
    agent.run().expect(0, &["delivered 1 file"]);
    let sidecar = agent.sidecar();
    agent.until("the note is gone", |agent| noted(agent)["begun"] == false);
    assert_eq!(noted(&agent)["pending"], false);
    sidecar.stop();
}

#[test]
fn no_restart_while_init_could_not_deliver_every_secret() {
    let bao = bao();
    let (changed, gone) = ("arc-runners/data/restart-changed", "arc-runners/data/restart-gone");
    let agent = pod(bao, &[changed, gone]);
    let mut sidecar = agent.sidecar();
    bao.delete(gone);
    agent.until("it is gone", |agent| agent.status()["files"]["b"]["state"] == "gone");
    put(bao, changed, "canary-second");
    sidecar.until_said("the containers do not restart yet");
    assert!(sidecar.runs());
    put(bao, gone, "canary-second");
    sidecar.ended_with(RESTART);
    agent.run().expect(0, &["delivered 2 files"]);
}

#[test]
fn notes_that_do_not_parse_delay_a_restart_and_do_not_stop_the_sidecar() {
    let bao = bao();
    let secret = "arc-runners/data/restart-notes";
    let agent = pod(bao, &[secret]);
    fs::write(notes(&agent), "{").unwrap();
    let sidecar = agent.sidecar();
    sidecar.until_said("the notes about restarts cannot be used");
    put(bao, secret, "canary-second");
    sidecar.until_said("the containers restart after the pause between two restarts");
    sidecar.stop();
}

#[test]
fn the_kubelet_s_variables_are_current_at_the_end_and_a_value_that_it_cannot_set_restarts_nothing() {
    let bao = bao();
    let secret = "arc-runners/data/restart-kubelet";
    put(bao, secret, "canary-first");
    let env = json!([{"secret": secret, "select": {"value": {"at": ["a"], "name": "API_TOKEN"}}}]);
    let agent = Agent::for_bao(bao)
        .with("/files", json!([]))
        .with("/env", env)
        .with("/kubeletEnv", json!(true))
        .refresh("5s")
        .with("/refresh/onChange", json!(["restart"]))
        .canary("canary-first")
        .canary("canary'second")
        .canary("canary-third");
    agent.run().expect(0, &["delivered 0 files and 1 variable"]);
    let variables = || fs::read_to_string(agent.root().join("podkey/env/variables.env")).unwrap();
    let mut sidecar = agent.sidecar();
    put(bao, secret, "canary'second");
    sidecar.until_said("the file is not fresh");
    assert!(sidecar.runs());
    assert_eq!(variables(), "API_TOKEN='canary-first'\n");
    put(bao, secret, "canary-third");
    sidecar.ended_with(RESTART);
    assert_eq!(variables(), "API_TOKEN='canary-third'\n");
}
