//! The kubelet's file of variables: what `init` and the sidecar write into it, and what they refuse. (That the kubelet reads the file
//! back is in `render::kubelet_env` and in the end-to-end tests.)

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::sidecar_process::put;
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};

const SECRET: &str = "arc-runners/data/kubelet";

/// A pod with one variable, which the kubelet sets.
fn agent(agent: Agent, secret: &str) -> Agent {
    let env = json!([{"secret": secret, "select": {"value": {"at": ["a"], "name": "API_TOKEN"}}}]);
    agent
        .with("/files", json!([]))
        .with("/env", env)
        .with("/kubeletEnv", json!(true))
}

fn fake(value: &str) -> FakeVault {
    let body = secret_body(&json!({"a": value}).to_string());
    FakeVault::plain(logged_in(move |_, _| answer(200, &body)))
}

fn file(agent: &Agent) -> PathBuf {
    agent.root().join("podkey/env/variables.env")
}

/// What the kubelet reads. None: there is no file.
fn text(agent: &Agent) -> Option<String> {
    fs::read_to_string(file(agent)).ok()
}

fn at(secret: &str, name: &str) -> Value {
    json!({"secret": secret, "key": "a", "format": "raw", "file": name, "mode": "0444"})
}

#[test]
fn the_value_is_in_the_kubelet_s_file_alone() {
    let bao = bao();
    let value = "canary-of-kubelet $(id) ${X}\n# \"%\\n";
    bao.write(SECRET, &json!({"data": {"a": value}}));
    let agent = agent(Agent::for_bao(bao), SECRET).canary("canary-of-kubelet");
    // The pod has no such volume.
    fs::remove_dir_all(agent.volume()).unwrap();
    for _ in 0..2 {
        agent.run().expect(0, &["delivered 0 files and 1 variable"]);
        assert_eq!(text(&agent).unwrap(), format!("API_TOKEN='{value}'\n"));
        let mode = fs::metadata(file(&agent)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o400);
    }
    for volume in ["podkey/volume", "podkey/bin"] {
        assert!(!agent.root().join(volume).exists(), "{volume}");
    }
    let left: Vec<_> = fs::read_dir(agent.root().join("podkey/env")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn files_are_beside_the_kubelet_s_variables_and_commands_read_their_values_as_files() {
    let fake = fake("canary-of-kubelet-1");
    let files = agent(Agent::for_fake(&fake), "kv/data/web").file(at("kv/data/web", "a.txt"));
    files.run().expect(0, &["delivered 1 file and 1 variable"]);
    assert_eq!(files.all_files(), ["files/a.txt"]);
    assert_eq!(text(&files).unwrap(), "API_TOKEN='canary-of-kubelet-1'\n");
    let mixed = agent(Agent::for_fake(&fake), "kv/data/web").with("/exec", json!(true));
    mixed.run().expect(0, &["delivered 0 files and 1 variable"]);
    assert_eq!(mixed.all_files(), ["files/env/API_TOKEN"]);
    assert_eq!(text(&mixed).unwrap(), "API_TOKEN='canary-of-kubelet-1'\n");
    assert!(mixed.root().join("podkey/bin/podkey-agent").exists());
}

#[test]
fn a_value_that_the_kubelet_cannot_read_back_fails_with_the_way_out_and_leaves_nothing() {
    let long = "canary-of-kubelet".repeat(2000);
    for (value, texts) in [
        (
            "canary-of-kubelet's",
            &["API_TOKEN", "apostrophe", "env-delivery: exec"][..],
        ),
        ("", &["API_TOKEN", "is empty", "env-delivery: exec"]),
        ("canary-of-kubelet\r\n", &["API_TOKEN", "carriage return"]),
        ("canary-of-kubelet\0", &["API_TOKEN", "NUL", "podkey.dev/files"]),
        (&long, &["API_TOKEN", "34000 bytes", "32768"]),
    ] {
        for refresh in [false, true] {
            let fake = fake(value);
            let mut agent = agent(Agent::for_fake(&fake), "kv/data/web").canary("canary-of-kubelet");
            if refresh {
                agent = agent.refresh("5s");
            }
            let ended = agent.run();
            ended.expect(65, texts).stage("render");
            assert!(ended.termination.contains(texts[1]), "{}", ended.termination);
            assert_eq!(text(&agent), None);
        }
    }
}

#[test]
fn a_secret_that_may_be_missing_leaves_a_file_that_the_kubelet_can_read() {
    let agent = agent(Agent::for_bao(bao()), "arc-runners/data/that-is-missing").with("/ignoreNotFound", json!(true));
    agent.run().expect(0, &["delivered 0 files"]);
    assert_eq!(text(&agent).unwrap(), "");
}

#[test]
fn a_delivery_that_cannot_be_reported_leaves_no_variable() {
    let fake = fake("canary-of-kubelet-1");
    let agent = agent(Agent::for_fake(&fake), "kv/data/web").refresh("5s");
    fs::create_dir_all(agent.root().join("podkey/handover/handover.json")).unwrap();
    agent.run().expect(73, &["handover.json"]);
    assert_eq!(text(&agent), None);
}

/// Without and with containers that read the values as files.
#[test]
fn a_changed_value_is_in_the_kubelet_s_file_and_a_value_that_it_cannot_hold_is_not() {
    let bao = bao();
    for (secret, exec) in [
        ("arc-runners/data/kubelet-fresh", false),
        ("arc-runners/data/kubelet-mixed", true),
    ] {
        put(bao, secret, "canary-first");
        let agent = agent(Agent::for_bao(bao), secret)
            .with("/exec", json!(exec))
            .refresh("5s")
            .canary("canary-third");
        agent.run().expect(0, &[]);
        assert_eq!(text(&agent).unwrap(), "API_TOKEN='canary-first'\n");
        let sidecar = agent.sidecar();
        put(bao, secret, "canary-second");
        agent.until("the second value", |agent| {
            text(agent).unwrap() == "API_TOKEN='canary-second'\n"
        });
        assert_eq!(agent.all_files().iter().any(|name| name.contains("API_TOKEN")), exec);
        put(bao, secret, "canary-third's");
        sidecar.until_said("the file is not fresh");
        assert!(
            sidecar
                .log()
                .iter()
                .any(|line| line["reason"].as_str().is_some_and(|why| why.contains("apostrophe")))
        );
        assert_eq!(text(&agent).unwrap(), "API_TOKEN='canary-second'\n");
        sidecar.kill();
        // A sidecar that was killed before it wrote the file writes the file when it starts again.
        fs::remove_file(file(&agent)).unwrap();
        let sidecar = agent.sidecar();
        agent.until("the file again", |agent| text(agent).is_some());
        assert_eq!(text(&agent).unwrap(), "API_TOKEN='canary-second'\n");
        put(bao, secret, "canary-fourth");
        agent.until("the fourth value", |agent| {
            text(agent).unwrap() == "API_TOKEN='canary-fourth'\n"
        });
        sidecar.stop();
    }
}
