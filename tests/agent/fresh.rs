//! `podkey-agent fresh`, the sidecar's probe, beside a sidecar that runs.

use std::fs;

use serde_json::json;

use crate::deliver::bao;
use crate::sidecar_process;
use crate::support::agent::Agent;

/// The exit code and the report.
fn asked(agent: &Agent) -> (i32, String) {
    let output = agent.command_for("fresh").output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_probe_fails_while_a_file_is_not_fresh_and_names_the_file() {
    const SECRET: &str = "arc-runners/data/probed";
    let bao = bao();
    let agent = sidecar_process::fresh(bao, SECRET);
    assert_eq!(asked(&agent), (0, String::new()), "as init left the files");
    let sidecar = agent.sidecar();
    bao.delete("arc-runners/metadata/probed");
    agent.until("gone", |agent| agent.status()["state"] == "gone");
    let (code, report) = asked(&agent);
    assert_eq!(code, 1);
    assert!(report.starts_with("a: gone") && report.ends_with('\n'), "{report}");
    sidecar_process::put(bao, SECRET, "canary-second");
    agent.until("fresh", |agent| agent.status()["state"] == "fresh");
    assert_eq!(asked(&agent).0, 0);
    sidecar.stop();
}

#[test]
fn the_probe_fails_where_the_state_of_the_files_is_not_known() {
    let bao = bao();
    let agent = sidecar_process::fresh(bao, "arc-runners/data/unknown-state");
    let status = agent.secrets().join(".status.json");
    fs::write(&status, "{").unwrap();
    assert_eq!(asked(&agent).0, 1);
    fs::remove_file(&status).unwrap();
    let (code, report) = asked(&agent);
    assert_eq!(code, 1);
    assert!(report.starts_with("the state of the files is not known"), "{report}");
    let without_refresh = Agent::for_bao(bao)
        .file(json!({"secret": "arc-runners/data/x", "key": "a", "format": "raw", "file": "a", "mode": "0440"}));
    assert_eq!(asked(&without_refresh).0, 0, "nothing is kept fresh");
}
