//! The webhook over HTTPS, beside the null handler in the same run: both are up, on one core, and take turns.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine as _;

use crate::load::{Target, drive};
use crate::pods;
use crate::server::{Files, Kind, Server, cores, pin};
use crate::table::{Table, aim, aim_at_least, median, no_aim, quantile};

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

/// What one server's turns gave, one value a turn.
#[derive(Default)]
struct Turns {
    /// CPU seconds for 10,000 reviews.
    cpu: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    per_second: Vec<f64>,
}

/// Two servers beside each other.
struct Pair<T> {
    podkey: T,
    null: T,
}

impl Pair<Turns> {
    /// Of the ratios of neighbouring turns, the middle one.
    fn ratio(&self, of: impl Fn(&Turns) -> &Vec<f64>) -> f64 {
        median(
            of(&self.podkey)
                .iter()
                .zip(of(&self.null))
                .map(|(podkey, null)| podkey / null),
        )
    }
}

/// Measures everything and prints the tables.
pub(crate) fn measure(podkey: &str, effort: Effort) -> anyhow::Result<()> {
    pin(cores()?.1)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(run(podkey, effort))?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

async fn run(program: &str, effort: Effort) -> anyhow::Result<String> {
    let files = Files::new()?;
    let review = pods::review(&pods::runner_pod(0)?)?;
    let plain = pods::review(&pods::plain_pod()?)?;
    let kind = Kind::Podkey(program);

    // The answer that the null handler repeats is podkey's own, and it must carry a patch.
    let podkey = Server::start(kind, &files, &[])?;
    let target = Target::new(podkey.address, &files.authority, &review)?;
    let (answer, _) = podkey.first_answer(&target).await?;
    let patch = check(&answer)?;
    std::fs::write(files.path("answer"), &answer)?;

    let (idle, _) = podkey.memory()?;
    let half = effort.memory_reviews / 2;
    drive(target.connections(16).await?, half).await?;
    let (halfway, _) = podkey.memory()?;
    drive(target.connections(16).await?, half).await?;
    let (after, peak) = podkey.memory()?;

    let null = Server::start(Kind::Null, &files, &[])?;
    let null_target = Target::new(null.address, &files.authority, &review)?;
    null.first_answer(&null_target).await?;
    let both = Pair {
        podkey: (&podkey, target),
        null: (&null, null_target),
    };

    let alone = turns(&both, 1, effort).await?;
    let sixteen = turns(&both, 16, effort).await?;
    let mut plain_target = both.podkey.1.clone();
    plain_target.send(&plain);
    let mut plain_null = both.null.1.clone();
    plain_null.send(&plain);
    let unasked = turns(
        &Pair {
            podkey: (&podkey, plain_target),
            null: (&null, plain_null),
        },
        1,
        effort,
    )
    .await?;

    let mut fresh = Pair {
        podkey: (Vec::new(), Vec::new()),
        null: (Vec::new(), Vec::new()),
    };
    for _ in 0..effort.rounds.min(3) {
        for (target, into) in [(&both.podkey.1, &mut fresh.podkey), (&both.null.1, &mut fresh.null)] {
            let (elapsed, micros) = target.fresh(effort.fresh, 50).await?;
            into.0.push(elapsed.as_secs_f64());
            into.1.push(quantile(micros, 0.99) / 1e3);
        }
    }
    drop(both);
    podkey.stop()?;
    null.stop()?;

    let mut starts = Pair {
        podkey: Vec::new(),
        null: Vec::new(),
    };
    for _ in 0..effort.starts {
        for (kind, into) in [(kind, &mut starts.podkey), (Kind::Null, &mut starts.null)] {
            let server = Server::start(kind, &files, &[])?;
            let target = Target::new(server.address, &files.authority, &review)?;
            let (_, took) = server.first_answer(&target).await?;
            into.push(took.as_secs_f64() * 1e3);
            server.stop()?;
        }
    }
    let instructions = match effort.callgrind {
        0 => None,
        reviews => Some(Pair {
            podkey: instructions(kind, &files, &review, reviews).await?,
            null: instructions(Kind::Null, &files, &review, reviews).await?,
        }),
    };

    let mut table = Table::new(&["", "podkey", "null handler", "podkey / null", "aim", ""]);
    let mut row = |name: &str, podkey: String, null: String, ratio: Option<f64>, aim: [String; 2]| {
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let [aim, met] = aim;
        table.row(&[name.to_owned(), podkey, null, ratio, aim, met]);
    };
    let mut load = |name: &str, pair: &Pair<Turns>, is_busy: bool| {
        let ratio = pair.ratio(|turns| &turns.cpu);
        let middle = |values: &Vec<f64>| median(values.iter().copied());
        row(
            &format!("CPU s per 10,000 reviews, {name}"),
            format!("{:.3}", middle(&pair.podkey.cpu)),
            format!("{:.3}", middle(&pair.null.cpu)),
            Some(ratio),
            aim(ratio, 2.5, " ×"),
        );
        row(
            &format!("p50 / p99 µs, {name}"),
            format!("{:.0} / {:.0}", middle(&pair.podkey.p50), middle(&pair.podkey.p99)),
            format!("{:.0} / {:.0}", middle(&pair.null.p50), middle(&pair.null.p99)),
            Some(pair.ratio(|turns| &turns.p50)),
            no_aim(),
        );
        let per_second = middle(&pair.podkey.per_second);
        row(
            &format!("reviews/s, {name}"),
            format!("{per_second:.0}"),
            format!("{:.0}", middle(&pair.null.per_second)),
            Some(pair.ratio(|turns| &turns.per_second)),
            if is_busy {
                aim_at_least(per_second, 15_000.0)
            } else {
                no_aim()
            },
        );
    };
    load("1 connection", &alone, false);
    load("16 connections", &sixteen, true);
    load("1 connection, a pod without annotations", &unasked, false);
    if let Some(Pair { podkey, null }) = instructions {
        row(
            "instructions per review, user space, 1 connection",
            format!("{podkey:.0}"),
            format!("{null:.0}"),
            Some(podkey / null),
            no_aim(),
        );
    }
    let (podkey_fresh, null_fresh) = (median(fresh.podkey.0), median(fresh.null.0));
    row(
        &format!("{} fresh TLS connections, 50 at once: s, p99 ms", effort.fresh),
        format!("{podkey_fresh:.2}, {:.0}", median(fresh.podkey.1)),
        format!("{null_fresh:.2}, {:.0}", median(fresh.null.1)),
        Some(podkey_fresh / null_fresh),
        no_aim(),
    );
    let mut own = |name: &str, value: f64, text: String, at_most: f64, unit: &str| {
        row(name, text, String::new(), None, aim(value, at_most, unit));
    };
    own("memory idle, MiB", idle, format!("{idle:.1}"), 6.0, " MiB");
    own(
        &format!("memory after {half} / {} reviews / peak, MiB", effort.memory_reviews),
        peak,
        format!("{halfway:.1} / {after:.1} / {peak:.1}"),
        10.0,
        " MiB",
    );
    let size = std::fs::metadata(program)?.len() as f64 / 1e6;
    own("binary, MB", size, format!("{size:.2}"), 14.0, " MB");
    let (start, null_start) = (median(starts.podkey), median(starts.null));
    row(
        "process start to first answer, ms",
        format!("{start:.1}"),
        format!("{null_start:.1}"),
        Some(start / null_start),
        aim(start, 15.0, " ms"),
    );
    Ok(format!(
        "A review of {} bytes, an answer of {} with a patch of {}. {} turns of {} reviews for each server.\n{}",
        review.len(),
        answer.len(),
        patch,
        effort.rounds,
        effort.reviews,
        table.text()
    ))
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

/// Turn and turn about: podkey, null, podkey, null.
async fn turns(servers: &Pair<(&Server, Target)>, connections: usize, effort: Effort) -> anyhow::Result<Pair<Turns>> {
    let mut turns = Pair {
        podkey: Turns::default(),
        null: Turns::default(),
    };
    for _ in 0..effort.rounds {
        for ((server, target), into) in [(&servers.podkey, &mut turns.podkey), (&servers.null, &mut turns.null)] {
            let open = target.connections(connections).await?;
            let before = server.cpu_seconds()?;
            let (elapsed, micros) = drive(open, effort.reviews).await?;
            let cpu = server.cpu_seconds()? - before;
            into.cpu.push(cpu * 10_000.0 / effort.reviews as f64);
            into.per_second.push(effort.reviews as f64 / elapsed.as_secs_f64());
            into.p50.push(quantile(micros.iter().copied(), 0.5));
            into.p99.push(quantile(micros, 0.99));
        }
    }
    Ok(turns)
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
