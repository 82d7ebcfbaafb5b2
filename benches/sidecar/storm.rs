//! As many sidecars at one server as a large cluster has: what they ask of it, by its audit log, while all is well, when it
//! comes back, and when it limits the rate.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::process::Sidecar;
use crate::table::{Table, no_aim};
use crate::{Bench, Program, aim};

/// How much is measured.
pub(crate) struct Effort {
    sidecars: usize,
    interval: Duration,
    /// Until what changed has come to all: two intervals.
    settle: Duration,
    steady: Duration,
    sealed: Duration,
    /// Until all have noticed, and found their pace.
    paced: Duration,
    limited: Duration,
}

pub(crate) const FULL: Effort = Effort {
    sidecars: 500,
    interval: Duration::from_secs(15),
    settle: Duration::from_secs(30),
    steady: Duration::from_secs(60),
    sealed: Duration::from_secs(30),
    paced: Duration::from_secs(90),
    limited: Duration::from_secs(60),
};
pub(crate) const QUICK: Effort = Effort {
    sidecars: 10,
    interval: Duration::from_secs(5),
    settle: Duration::from_secs(4),
    steady: Duration::from_secs(3),
    sealed: Duration::from_secs(2),
    paced: Duration::from_secs(3),
    limited: Duration::from_secs(3),
};

/// Of what the sidecars ask for in all.
const QUOTA_SHARE: f64 = 1.0 / 3.0;
const QUOTA: &str = "sys/quotas/rate-limit/benchmark";

pub(crate) fn measure(bench: &Bench, effort: &Effort) -> anyhow::Result<String> {
    let sidecars = start(bench, effort)?;
    std::thread::sleep(effort.settle);
    let wanted = sidecars.len() as f64 / effort.interval.as_secs_f64();
    let span = |lasts: Duration| {
        let begun = SystemTime::now();
        std::thread::sleep(lasts);
        begun..SystemTime::now()
    };
    let steady = span(effort.steady);

    let unseal = unseal_key(bench)?;
    bench.bao.write("sys/seal", &Value::Null);
    let sealed = span(effort.sealed);
    bench.bao.write("sys/unseal", &json!({"key": unseal}));
    let back = span(effort.settle);
    let after = span(effort.steady);

    let quota = (wanted * QUOTA_SHARE).max(1.0).round();
    bench
        .bao
        .write("sys/quotas/config", &json!({"enable_rate_limit_audit_logging": true}));
    bench.bao.write(QUOTA, &json!({"rate": quota, "path": "arc-runners/"}));
    let pacing = span(effort.paced);
    let limited = span(effort.limited);
    bench.bao.delete(QUOTA);
    let recovering = span(effort.settle);
    let recovered = span(effort.steady);

    let seconds = seconds(bench);
    // A renewal of each token, now and then, is not counted in what is wanted.
    let most = (11.0 * wanted).round() / 10.0;
    let as_wanted = |span: &Span| aim(mean(&seconds, span), most, "");
    let mut table = Table::new(&[
        "requests a second",
        "s",
        "mean",
        "busiest second",
        "aim for the mean",
        "",
    ]);
    for (name, span, aim) in [
        ("steady", &steady, as_wanted(&steady)),
        ("while the server is sealed: not in its audit log", &sealed, no_aim()),
        ("unsealed: at first", &back, no_aim()),
        ("then", &after, as_wanted(&after)),
        ("under the quota, at first", &pacing, no_aim()),
        (
            "under the quota, then",
            &limited,
            aim(mean(&seconds, &limited), 2.0 * quota, ""),
        ),
        ("without the quota again: at first", &recovering, no_aim()),
        ("then", &recovered, as_wanted(&recovered)),
    ] {
        let [its_aim, met] = aim;
        table.row(&[
            name.to_owned(),
            format!("{:.0}", span.end.duration_since(span.start)?.as_secs_f64()),
            format!("{:.1}", mean(&seconds, span)),
            format!("{}", within(&seconds, span).max().unwrap_or(0)),
            its_aim,
            met,
        ]);
    }
    ensure!(mean(&seconds, &steady) > wanted / 2.0, "the sidecars do not ask");
    Ok(format!(
        "\n### {} sidecars, one secret each, every {:.0} s\n\nThat makes {wanted:.1} requests a second. The quota is {quota} \
         a second, a third of it.\n{}",
        sidecars.len(),
        effort.interval.as_secs_f64(),
        table.text()
    ))
}

fn start(bench: &Bench, effort: &Effort) -> anyhow::Result<Vec<Sidecar>> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let starters: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut started = Vec::new();
                    while next.fetch_add(1, Ordering::Relaxed) < effort.sidecars {
                        started.push(bench.start(Program::Podkey(&bench.versions[0]), 1, effort.interval)?);
                    }
                    anyhow::Ok(started)
                })
            })
            .collect();
        let mut all = Vec::new();
        for starter in starters {
            let started = starter.join().map_err(|_| anyhow::anyhow!("a starter failed"))??;
            all.extend(started);
        }
        Ok(all)
    })
}

/// As a server in memory says it when it starts.
fn unseal_key(bench: &Bench) -> anyhow::Result<String> {
    let log = fs::read_to_string(bench.bao.directory().join("log"))?;
    let key = log.lines().find_map(|line| line.strip_prefix("Unseal Key: "));
    Ok(key.context("no unseal key in the server's log")?.trim().to_owned())
}

/// The second of the Unix clock, and how many requests the sidecars made in it.
type Seconds = BTreeMap<u64, usize>;
type Span = std::ops::Range<SystemTime>;

fn seconds(bench: &Bench) -> Seconds {
    let mut seconds = Seconds::new();
    for entry in bench.bao.audit() {
        let path = entry["request"]["path"].as_str().unwrap_or_default();
        let ours = path.starts_with("arc-runners/") || path.starts_with("auth/");
        let time = entry["time"].as_str().unwrap_or_default().trim_end_matches('Z');
        // One that the quota refuses is there as well.
        if let (true, true, Ok(time)) = (entry["type"] == "request", ours, humantime::parse_rfc3339_weak(time)) {
            *seconds.entry(unix(time)).or_default() += 1;
        }
    }
    seconds
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn within<'a>(seconds: &'a Seconds, span: &Span) -> impl Iterator<Item = usize> + 'a {
    seconds.range(unix(span.start)..unix(span.end)).map(|(_, count)| *count)
}

fn mean(seconds: &Seconds, span: &Span) -> f64 {
    let lasts = (unix(span.end) - unix(span.start)).max(1);
    within(seconds, span).sum::<usize>() as f64 / lasts as f64
}
