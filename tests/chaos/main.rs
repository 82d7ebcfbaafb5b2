//! An hour in which parts of a cluster are killed at random while pods with secrets are created: `make chaos` runs it, and
//! `docs/develop/chaos.md` says what is killed and what is counted. It uses the cluster of `make cluster` for itself alone.
//!
//! | variable | what | without it |
//! | --- | --- | --- |
//! | `MINUTES` | how long parts are killed | 60 |
//! | `SEED` | of the random numbers that choose what is killed, and when | 17 |
//! | `RATE` | admissions a second | 5 |
//! | `STARTED` | of those, pods a second that are started; the others are dry runs | 0.5 |
//! | `VICTIMS` | what is killed, such as `Replica,OpenBao` | all of `kills::Victim` |
//! | `REPORT` | folder for the figures | `target/chaos` |
#![allow(missing_docs, unreachable_pub, reason = "one test binary, in several files")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[path = "../e2e/harness/mod.rs"]
#[allow(dead_code, reason = "the end-to-end tests use all of it")]
mod harness;
#[path = "../support/postgres.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod postgres;

mod admissions;
mod kills;
mod left;
mod pods;
mod replicas;
mod report;
mod secrets;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use admissions::Admissions;
use harness::control::control;
use harness::install;
use harness::namespace::Namespace;
use kills::Kills;
use pods::Pods;
use replicas::Replicas;
use report::Report;
use secrets::Secrets;

/// What all threads of a run share.
pub struct Run {
    pub begun: Instant,
    /// Set: nothing is killed or created any more.
    over: AtomicBool,
    /// Set: nothing is watched any more.
    ended: AtomicBool,
}

impl Run {
    /// Seconds since the beginning.
    pub fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// What the caller asks for.
pub struct Asked {
    pub minutes: f64,
    pub seed: u64,
    pub rate: f64,
    pub started: f64,
    /// What may be killed, by the names of [`kills::Victim`], with commas. Nothing: all of them.
    pub victims: String,
    pub folder: PathBuf,
}

impl Asked {
    fn read() -> Self {
        Self {
            minutes: given("MINUTES", 60.0),
            seed: given("SEED", 17),
            rate: given("RATE", 5.0),
            started: given("STARTED", 0.5),
            victims: given("VICTIMS", String::new()),
            folder: given("REPORT", "target/chaos".into()),
        }
    }
}

fn given<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name).ok().filter(|text| !text.is_empty()) {
        Some(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not understood")),
        None => default,
    }
}

#[test]
fn no_pod_no_admission_no_token_and_no_lease_is_lost() {
    let Some(control) = control("parts of the cluster killed") else {
        return;
    };
    let asked = Asked::read();
    install::podkey();
    install::connect("chaos", secrets::connection(), "");
    let namespace = Namespace::new("chaos");
    let secrets = Secrets::new(&namespace);
    Replicas::all_serve();
    let run = Run {
        begun: Instant::now(),
        over: AtomicBool::new(false),
        ended: AtomicBool::new(false),
    };
    let replicas = Replicas::default();
    let pods = Pods::default();
    let kills = Kills::default();
    let admissions = Admissions::default();
    let lasts = Duration::from_secs_f64(asked.minutes * 60.0);
    let (took, left) = std::thread::scope(|threads| {
        threads.spawn(|| replicas.watch(&run));
        threads.spawn(|| replicas.measure(&run));
        threads.spawn(|| pods.watch(&run, &secrets));
        threads.spawn(|| secrets.change(&run));
        for _ in 0..admissions::CREATORS {
            threads.spawn(|| admissions.create(&run, &asked, &secrets, &pods));
        }
        let seen = threads.spawn(|| left::never_seen(&run, &secrets));
        let killer = threads.spawn(|| kills.go_on(&run, &control, &asked));
        while run.begun.elapsed() < lasts && !killer.is_finished() {
            std::thread::sleep(Duration::from_millis(100));
        }
        let took = run.begun.elapsed();
        run.over.store(true, Ordering::Relaxed);
        // However it ends, the threads end too.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            killer.join().expect("what was killed is started again");
            pods.end();
        }));
        run.ended.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|error| std::panic::resume_unwind(error));
        let never_seen = seen.join().expect("what there is during the run is counted");
        (took, secrets.left(never_seen))
    });
    let report = Report {
        asked: &asked,
        took,
        kills: &kills,
        admissions: &admissions,
        replicas: &replicas,
        pods: &pods,
        left: &left,
    };
    let faults = report.write();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
