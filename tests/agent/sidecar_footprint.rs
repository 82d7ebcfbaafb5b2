//! What a sidecar costs its pod: memory while it reads 64 secrets, and no CPU time while there is nothing to do.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::deliver::bao;
use crate::dist::dist;
use crate::sidecar_process::fresh;
use crate::support::agent::Agent;
use crate::support::fake_vault::{FakeVault, json as answer, logged_in, secret_body};

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
fn a_sidecar_without_work_does_not_wake_up() {
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

/// How many bytes of secrets the containers of a pod may see together.
const MOST: usize = 4 * 1024 * 1024;

/// A pod whose secrets change in each round, and how much memory its sidecar took at the most, in KiB.
fn peak(agent: &Agent, put: &dyn Fn(u32), seen: &dyn Fn(&Agent, u32) -> bool) -> u64 {
    put(0);
    agent.run().expect(0, &[]);
    let sidecar = agent.sidecar();
    for round in 1..=4 {
        put(round);
        agent.until("the change", |agent| seen(agent, round));
    }
    let (peak, now) = (status(sidecar.id(), "VmHWM"), status(sidecar.id(), "RssAnon"));
    eprintln!("VmHWM {peak} KiB, of its own at the end {now} KiB");
    sidecar.stop();
    peak
}

/// A container that is killed for its memory is taken for a failed one by ARC ≥ 0.14.2, which deletes the runner's pod. The limit
/// that podkey gives it is 64 MiB.
#[test]
#[ignore = "needs `make dist`"]
fn with_the_largest_secrets_the_memory_stays_far_below_the_limit() {
    let bao = bao();
    let program = dist(if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" });
    let pod = || {
        Agent::for_bao(bao)
            .refresh("5s")
            .program(std::slice::from_ref(&program))
    };
    let file = |secret: String, fields: Value| {
        let mut file = json!({"secret": secret, "mode": "0440"});
        file.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        file
    };
    let long = |round: u32, length: usize| format!("canary-{round}-").repeat(length / 9);
    let begins = |agent: &Agent, place: &str, round: u32| {
        agent.seen(place).is_some_and(|bytes| {
            bytes
                .windows(9)
                .take(20)
                .any(|at| at == format!("canary-{round}-").as_bytes())
        })
    };
    let mut peaks = Vec::new();

    // 64 secrets that fill all there is room for, each changed in each round.
    let name = |n: usize| format!("arc-runners/data/largest/{n}");
    let mut many = pod();
    for n in 0..64 {
        many = many.file(file(
            name(n),
            json!({"key": "a", "format": "raw", "file": format!("{n}")}),
        ));
    }
    let put = |round| {
        for n in 0..64 {
            bao.write(&name(n), &json!({"data": {"a": long(round, MOST / 64 - 9)}}));
        }
    };
    peaks.push((
        "64 secrets that fill the volume",
        peak(&many, &put, &|agent, round| {
            (0..64).all(|n| begins(agent, &n.to_string(), round))
        }),
    ));

    // One that does so alone, as a whole and in its own format.
    let secret = "arc-runners/data/largest/one";
    let one = pod().file(file(secret.into(), json!({"format": "yaml", "file": "one"})));
    let put = |round| drop(bao.write(secret, &json!({"data": {"a": long(round, MOST - 2048)}})));
    peaks.push((
        "one secret that fills the volume",
        peak(&one, &put, &|agent, round| begins(agent, "one", round)),
    ));

    // Answers that are as large as can be, for a few bytes of each.
    let name = |n: usize| format!("arc-runners/data/largest/part-{n}");
    let mut parts = pod();
    for n in 0..2 {
        parts = parts.file(file(
            name(n),
            json!({"key": "a", "format": "raw", "file": format!("{n}")}),
        ));
    }
    let put = |round| {
        for n in 0..2 {
            bao.write(
                &name(n),
                &json!({"data": {"a": long(round, 90), "b": long(round, MOST - 4096)}}),
            );
        }
    };
    peaks.push((
        "two answers of 4 MiB",
        peak(&parts, &put, &|agent, round| {
            (0..2).all(|n| begins(agent, &n.to_string(), round))
        }),
    ));

    // As many fields as an answer may have, in each format. (OpenBao takes no such secret; an older server does.)
    let now = Arc::new(AtomicU32::new(0));
    let round_of = Arc::clone(&now);
    let fake = FakeVault::plain(logged_in(move |_, _| {
        let mut data = format!(r#"{{"f0":"canary-{}-""#, round_of.load(Ordering::SeqCst));
        (1..60_000).for_each(|n| data.push_str(&format!(r#","f{n}":"x""#)));
        answer(
            200,
            &secret_body(&format!(r#"{{"data":{data}}},"metadata":{{"version":1}}}}"#)),
        )
    }));
    let mut fields = Agent::for_fake(&fake)
        .refresh("5s")
        .program(std::slice::from_ref(&program));
    for format in ["json", "yaml", "dotenv", "properties"] {
        fields = fields.file(file("kv/data/web".into(), json!({"format": format, "file": format})));
    }
    let fields = fields.with("/files/0/key", json!("f0"));
    let put = |round| now.store(round, Ordering::SeqCst);
    peaks.push((
        "60,000 fields in four formats",
        peak(&fields, &put, &|agent, round| begins(agent, "json", round)),
    ));

    for (what, peak) in &peaks {
        eprintln!("{what}: {peak} KiB");
    }
    for (what, peak) in peaks {
        // With what it writes into the volume in memory, which counts for it too, less than half of its limit.
        assert!(peak + 9 * 1024 < 32 * 1024, "{what}: {peak} KiB");
    }
}
