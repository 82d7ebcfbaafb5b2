//! The webhook over HTTPS, beside the null handler in the same run: both are up, on one core, and take turns.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine as _;

use crate::load::{Target, drive};
use crate::pods;
use crate::server::{Files, Kind, NULL, Server, cores, pin};
use crate::table::{Aim, Beside, Row, number, quantile, with_aims};
use crate::versions::Version;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Turns of each server, for each number.
    rounds: usize,
    /// Reviews in a turn.
    reviews: usize,
    /// Fresh connections in a turn.
    fresh: usize,
    /// Reviews before memory is looked at again.
    memory_reviews: usize,
    /// Starts of each server.
    starts: usize,
    /// Reviews under callgrind; 0: none.
    callgrind: usize,
}

pub(crate) const FULL: Effort = Effort {
    rounds: 7,
    reviews: 10_000,
    fresh: 1_000,
    memory_reviews: 100_000,
    starts: 21,
    callgrind: 1_000,
};
pub(crate) const QUICK: Effort = Effort {
    rounds: 1,
    reviews: 500,
    fresh: 100,
    memory_reviews: 2_000,
    starts: 3,
    callgrind: 0,
};

/// What one turn of a server gave.
struct Turn {
    /// CPU seconds for 10,000 reviews.
    cpu: f64,
    p50: f64,
    p99: f64,
    per_second: f64,
}

/// The resident memory of a server, in MiB.
struct Memory {
    idle: f64,
    halfway: f64,
    after: f64,
    peak: f64,
}

/// A running server, and where the generator finds it.
type Running = (Server, Target);

/// Measures everything and prints the tables. The first version is judged.
pub(crate) fn measure(versions: &[Version], effort: Effort) -> anyhow::Result<()> {
    pin(cores()?.1)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(run(versions, effort))?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

async fn run(versions: &[Version], effort: Effort) -> anyhow::Result<String> {
    let files = Files::new()?;
    let review = pods::review(&pods::runner_pod(0)?)?;
    let kinds = Kind::all(versions);
    let (mut running, mut memory) = (Vec::new(), Vec::new());
    for kind in &kinds {
        let server = Server::start(*kind, &files, &[])?;
        let target = Target::new(server.address, &files.authority, &review)?;
        let (answer, _) = server.first_answer(&target).await?;
        if running.is_empty() {
            // The null handler repeats the answer of the first version, which must carry a patch.
            std::fs::write(files.path("answer"), &answer)?;
        }
        memory.push(vec![memory_of(&server, &target, effort.memory_reviews).await?]);
        running.push((server, target));
    }
    let answer = std::fs::read(files.path("answer"))?;
    let patch = check(&answer)?;

    let mut table = Beside::new("", &kinds.iter().map(Kind::name).collect::<Vec<_>>());
    loads(&mut table, &mut running, &review, effort).await?;
    if effort.callgrind > 0 {
        let mut counted = Vec::new();
        for kind in &kinds {
            counted.push(vec![instructions(*kind, &files, &review, effort.callgrind).await?]);
        }
        let row = number("instructions per review, user space, 1 connection", 0, |count| *count);
        table.rows(&counted, &[row]);
    }
    let head = format!("{} fresh TLS connections, 50 at once", effort.fresh);
    let rows = [
        number(&format!("{head}: s"), 2, |turn: &(f64, f64)| turn.0),
        number(&format!("{head}: p99, ms"), 0, |turn| turn.1),
    ];
    table.rows(&fresh(&running, effort).await?, &rows);
    for (server, _) in running {
        server.stop()?;
    }
    sizes(&mut table, versions, &memory, effort)?;
    let aims = [Aim::AtMost(15.0, " ms")];
    let start = with_aims("process start to first answer, ms", 1, |ms| *ms, &aims);
    table.rows(&starts(&kinds, &files, &review, effort.starts).await?, &[start]);
    Ok(format!(
        "A review of {} bytes, an answer of {} with a patch of {patch}. {} turns of {} reviews for each server.\n{}",
        review.len(),
        answer.len(),
        effort.rounds,
        effort.reviews,
        table.text()
    ))
}

/// Reviews over connections that are open already.
async fn loads(table: &mut Beside<'_>, running: &mut [Running], review: &[u8], effort: Effort) -> anyhow::Result<()> {
    let plain = pods::review(&pods::plain_pod()?)?;
    let busy = [Aim::AtLeast(20_000.0, "")];
    let unknown = "16 connections, each pod of another template";
    for (connections, body, names, name, cpu, per_second) in [
        (1, review, &pods::NAMES[..], "1 connection", Some(1.8), &[][..]),
        (16, review, &pods::NAMES, "16 connections", Some(2.5), &busy),
        (16, review, &pods::TEXTS, unknown, None, &[]),
        (
            1,
            &plain,
            &pods::NAMES,
            "1 connection, a pod without annotations",
            Some(1.3),
            &[],
        ),
    ] {
        for (_, target) in &mut *running {
            target.send(body, names);
        }
        let turns = turns(running, connections, effort).await?;
        let cpu: Vec<_> = cpu.map(|most| Aim::Ratio(NULL, most)).into_iter().collect();
        table.rows(&turns, &load(name, &cpu, per_second));
    }
    for (_, target) in running {
        target.send(review, &pods::NAMES);
    }
    Ok(())
}

/// What a server needs of memory, and its program of the disk.
fn sizes(table: &mut Beside<'_>, versions: &[Version], memory: &[Vec<Memory>], effort: Effort) -> anyhow::Result<()> {
    let reviews = effort.memory_reviews;
    let rows = [
        with_aims("memory idle, MiB", 1, |m: &Memory| m.idle, &[Aim::AtMost(6.0, " MiB")]),
        number(&format!("memory after {} reviews, MiB", reviews / 2), 1, |m| m.halfway),
        number(&format!("memory after {reviews} reviews, MiB"), 1, |m| m.after),
        with_aims("highest memory, MiB", 1, |m| m.peak, &[Aim::AtMost(10.0, " MiB")]),
    ];
    table.rows(memory, &rows);
    let mut sizes = Vec::new();
    for version in versions {
        sizes.push(vec![std::fs::metadata(&version.podkey)?.len() as f64 / 1e6]);
    }
    // The null handler's program is the benchmark's own.
    sizes.push(Vec::new());
    let size = with_aims("binary, MB", 2, |size| *size, &[Aim::AtMost(14.0, " MB")]);
    table.rows(&sizes, &[size]);
    Ok(())
}

/// The rows of a measurement under load.
fn load<'a>(name: &str, cpu: &'a [Aim], per_second: &'a [Aim]) -> [Row<'a, Turn>; 4] {
    [
        with_aims(
            &format!("CPU s per 10,000 reviews, {name}"),
            3,
            |turn: &Turn| turn.cpu,
            cpu,
        ),
        number(&format!("p50 µs, {name}"), 0, |turn| turn.p50),
        number(&format!("p99 µs, {name}"), 0, |turn| turn.p99),
        with_aims(&format!("reviews/s, {name}"), 0, |turn| turn.per_second, per_second),
    ]
}

async fn memory_of(server: &Server, target: &Target, reviews: usize) -> anyhow::Result<Memory> {
    let (idle, _) = server.memory()?;
    drive(target.connections(16).await?, reviews / 2).await?;
    let (halfway, _) = server.memory()?;
    drive(target.connections(16).await?, reviews / 2).await?;
    let (after, peak) = server.memory()?;
    Ok(Memory {
        idle,
        halfway,
        after,
        peak,
    })
}

/// Seconds for all, and the p99 in milliseconds.
async fn fresh(running: &[Running], effort: Effort) -> anyhow::Result<Vec<Vec<(f64, f64)>>> {
    let mut all: Vec<_> = running.iter().map(|_| Vec::new()).collect();
    for _ in 0..effort.rounds.min(3) {
        for ((_, target), into) in running.iter().zip(&mut all) {
            let (elapsed, micros) = target.fresh(effort.fresh, 50).await?;
            into.push((elapsed.as_secs_f64(), quantile(micros, 0.99) / 1e3));
        }
    }
    Ok(all)
}

/// Milliseconds from the start of each server's process to its first answer.
async fn starts(kinds: &[Kind<'_>], files: &Files, review: &[u8], starts: usize) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut all: Vec<_> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..starts {
        for (kind, into) in kinds.iter().zip(&mut all) {
            let server = Server::start(*kind, files, &[])?;
            let target = Target::new(server.address, &files.authority, review)?;
            let (_, took) = server.first_answer(&target).await?;
            into.push(took.as_secs_f64() * 1e3);
            server.stop()?;
        }
    }
    Ok(all)
}

/// That the answer is a patch; its length.
fn check(answer: &[u8]) -> anyhow::Result<usize> {
    let answer: serde_json::Value = serde_json::from_slice(answer)?;
    let patch = answer["response"]["patch"]
        .as_str()
        .with_context(|| format!("no patch: {answer}"))?;
    let patch = base64::engine::general_purpose::STANDARD.decode(patch)?;
    ensure!(patch.starts_with(b"["), "the patch is no list");
    Ok(patch.len())
}

/// Turn and turn about: each server once, then each again.
async fn turns(running: &[Running], connections: usize, effort: Effort) -> anyhow::Result<Vec<Vec<Turn>>> {
    let mut all: Vec<_> = running.iter().map(|_| Vec::new()).collect();
    for _ in 0..effort.rounds {
        for ((server, target), into) in running.iter().zip(&mut all) {
            let open = target.connections(connections).await?;
            let before = server.cpu_seconds()?;
            let (elapsed, micros) = drive(open, effort.reviews).await?;
            let cpu = server.cpu_seconds()? - before;
            into.push(Turn {
                cpu: cpu * 10_000.0 / effort.reviews as f64,
                per_second: effort.reviews as f64 / elapsed.as_secs_f64(),
                p50: quantile(micros.iter().copied(), 0.5),
                p99: quantile(micros, 0.99),
            });
        }
    }
    Ok(all)
}

/// Instructions for one review: the difference between a short and a long run under callgrind.
async fn instructions(kind: Kind<'_>, files: &Files, review: &[u8], reviews: usize) -> anyhow::Result<f64> {
    let mut counts = Vec::new();
    for count in [reviews / 10, reviews / 10 + reviews] {
        let out = files.path("callgrind.out");
        let valgrind = [
            "valgrind".into(),
            "--tool=callgrind".into(),
            format!("--callgrind-out-file={}", out.display()).into(),
        ];
        let server = Server::start(kind, files, &valgrind)?;
        let target = Target::new(server.address, &files.authority, review)?;
        server.first_answer(&target).await?;
        drive(target.connections(1).await?, count).await?;
        server.stop()?;
        // It writes its counts as it ends.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let out = std::fs::read_to_string(&out).context("callgrind's counts")?;
        let total = out
            .lines()
            .find_map(|line| line.strip_prefix("totals: "))
            .context("callgrind's totals")?;
        counts.push(total.trim().parse::<f64>()?);
    }
    Ok((counts[1] - counts[0]) / reviews as f64)
}
