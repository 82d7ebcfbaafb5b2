//! What a sidecar costs the pod it is in: memory while it reads 64 secrets, and nothing at all while there is nothing to do.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::deliver::bao;
use crate::dist::dist;
use crate::sidecar_process::fresh;
use crate::support::agent::Agent;

/// A number of `/proc/PID/status`.
fn status(id: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

/// How often it was given a CPU so far, and for how many nanoseconds.
fn ran(id: u32) -> (u64, u64) {
    let told = fs::read_to_string(format!("/proc/{id}/schedstat")).unwrap();
    let numbers: Vec<u64> = told.split_whitespace().map(|number| number.parse().unwrap()).collect();
    (numbers[2], numbers[0])
}

#[test]
fn without_work_it_does_not_wake_up() {
    // The first round comes at a random moment of the first day.
    let agent = fresh(bao(), "arc-runners/data/idle").with("/refresh/interval", json!("24h"));
    let sidecar = agent.sidecar();
    agent.until("it works", |agent| agent.status()["files"]["a"]["nextTry"].is_string());
    // What it has begun ends first.
    let mut before = ran(sidecar.id());
    agent.until("nothing to do", |_| {
        sleep(Duration::from_secs(3));
        let now = ran(sidecar.id());
        std::mem::replace(&mut before, now) == now
    });
    sleep(Duration::from_secs(20));
    assert_eq!(ran(sidecar.id()), before, "(times, nanoseconds)");
    sidecar.stop();
}

#[test]
#[ignore = "needs `make dist`"]
fn with_64_secrets_it_needs_less_than_12_mib() {
    let bao = bao();
    let program = dist(if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" });
    let mut agent = Agent::for_bao(bao).refresh("5s").program(&[program]);
    let put = |round: u32| {
        for n in 0..64 {
            let data =
                json!({"data": {"user": format!("user-{n}"), "password": format!("canary-{round}-").repeat(40)}});
            bao.write(&format!("arc-runners/data/many/{n}"), &data);
        }
    };
    for n in 0..64 {
        let secret = format!("arc-runners/data/many/{n}");
        agent =
            agent.file(json!({"secret": secret, "format": "json", "file": format!("many/{n}.json"), "mode": "0440"}));
    }
    put(0);
    agent.run().expect(0, &["delivered 64 files"]);
    let sidecar = agent.sidecar();
    for round in 1..=6 {
        put(round);
        let is_there = |agent: &Agent, n: u32| {
            agent
                .text(&format!("many/{n}.json"))
                .unwrap()
                .contains(&format!("canary-{round}-"))
        };
        agent.until("the change", |agent| (0..64).all(|n| is_there(agent, n)));
    }
    let (peak, now) = (status(sidecar.id(), "VmHWM"), status(sidecar.id(), "VmRSS"));
    let (times, nanoseconds) = ran(sidecar.id());
    eprintln!("64 secrets: VmHWM {peak} KiB, VmRSS {now} KiB, {times} times on a CPU, {nanoseconds} ns in all");
    assert!(peak < 12 * 1024, "{peak} KiB");
    sidecar.stop();
}
