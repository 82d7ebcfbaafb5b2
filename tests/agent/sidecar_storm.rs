//! Hundreds of sidecars against one server: they ask as often as computed, spread over the interval, and under a rate limit
//! quota they give way.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::dist::dist;
use crate::support::agent::Agent;
use crate::support::openbao::OpenBao;

const INTERVAL: u64 = 15;

/// How many requests of pods the server got in a second, on average over so long, and in the busiest second.
fn rate(bao: &OpenBao, over: Duration) -> (f64, usize) {
    let asked = || -> Vec<Value> {
        bao.audit()
            .into_iter()
            .filter(|entry| entry["type"] == "request")
            .collect()
    };
    let before = asked().len();
    sleep(over);
    let asked = asked().split_off(before);
    let second = |entry: &Value| entry["time"].as_str().unwrap()[..19].to_owned();
    let busiest = asked.chunk_by(|a, b| second(a) == second(b)).map(<[Value]>::len).max();
    (asked.len() as f64 / over.as_secs_f64(), busiest.unwrap_or_default())
}

#[test]
#[ignore = "needs `make dist`"]
fn many_sidecars_ask_as_often_as_computed_and_give_way_under_a_quota() {
    let pods: u64 = std::env::var("PODKEY_PODS").map_or(200, |text| text.parse().unwrap());
    let bao = OpenBao::with_scenario_1();
    bao.write("arc-runners/data/storm", &json!({"data": {"a": "1"}}));
    let program = dist(if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" });
    let file = json!({"secret": "arc-runners/data/storm", "key": "a", "format": "raw", "file": "a", "mode": "0440"});
    let agents: Vec<Agent> = (0..pods)
        .map(|_| {
            let agent = Agent::for_bao(&bao)
                .refresh(&format!("{INTERVAL}s"))
                .env("PODKEY_LOG", "error");
            let agent = agent.program(std::slice::from_ref(&program)).file(file.clone());
            agent.run().expect(0, &[]);
            agent
        })
        .collect();
    let sidecars: Vec<_> = agents.iter().map(Agent::sidecar).collect();
    sleep(Duration::from_secs(INTERVAL));
    let computed = pods as f64 / INTERVAL as f64;
    let (steady, busiest) = rate(&bao, Duration::from_secs(2 * INTERVAL));
    eprintln!("{pods} sidecars: {steady:.1} requests/s, {computed:.1} computed; {busiest} in the busiest second");
    assert!((0.8..=1.3).contains(&(steady / computed)), "{steady} of {computed}");

    let quota = computed / 4.0;
    bao.write("sys/quotas/config", &json!({"enable_rate_limit_audit_logging": true}));
    bao.write(
        "sys/quotas/rate-limit/pods",
        &json!({"rate": quota, "path": "arc-runners/"}),
    );
    // Each pod learns of the quota by its own tries.
    for minute in 1..=4 {
        let (offered, busiest) = rate(&bao, Duration::from_secs(60));
        eprintln!(
            "minute {minute} of a quota of {quota:.1}/s: {offered:.1} requests/s; {busiest} in the busiest second"
        );
        if minute == 4 {
            assert!(offered <= 2.0 * quota, "{offered} of {quota}");
        }
    }
    for sidecar in sidecars {
        drop(sidecar);
    }
}
