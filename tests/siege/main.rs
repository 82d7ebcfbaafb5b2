//! The static webhook under siege: everybody in a cluster reaches its port, and whoever stops it stops all annotated pods.
//!
//! Each test runs `dist/<machine>/podkey serve` under the memory limit of the chart's own values (see `cell.rs`), and lets
//! attackers of one kind at it (`attacker.rs`), the last test of all kinds. Beside them a well-behaved client makes its calls
//! (`neighbour.rs` says what such a client may expect). Then:
//!
//! - the program is alive, nothing was killed for its memory, and its peak is below the limit;
//! - each call of the well-behaved client had its right answer, on new connections and on the one that stays open;
//! - `/healthz` answered each time;
//! - once the attackers are gone, a review of the largest size has its answer.
//!
//! Each attack has at most 1,200 connections at a time, and seconds. The attackers need open files: this process raises its
//! own soft limit, and needs a hard limit of 4,096. The program starts with the soft limit that the test says.
//!
//! OUTCOMES

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod attacker;
mod cell;
mod neighbour;
mod reviews;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use attacker::{Attack, Body, Kind, Sources};
use cell::{Cell, Files};
use neighbour::{Call, Calls, Neighbour};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use support::webhook::{CONFIG, LogReader, Webhook};
use wire::Target;

/// How long an attack goes on at least, where a test does not say otherwise; and longer, until each of its connections has
/// been opened once.
const ATTACK: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(12);
/// The soft limit of open files that container runtimes give by default, or that systemd gave for years.
const USUAL_FILES: Files = Files::Soft(1024);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program() -> PathBuf {
    let dist = std::env::var_os("PODKEY_DIST").map_or_else(|| root().join("dist"), PathBuf::from);
    let machine = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    dist.join(machine).join("podkey")
}

/// The memory limit that the chart gives the webhook, in bytes.
fn chart_limit() -> u64 {
    let values = std::fs::read_to_string(root().join("manifests/chart/values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    let limit = values["resources"]["limits"]["memory"].as_str().unwrap();
    let mebibytes = limit.strip_suffix("Mi").expect("a limit in Mi");
    mebibytes.parse::<u64>().unwrap() * 1024 * 1024
}

/// One webhook under its limit.
struct Siege {
    webhook: Webhook,
    // Declared after the webhook: dropped after its process is gone.
    cell: Cell,
    limit: u64,
    calls: Vec<Call>,
    duration: Duration,
    /// Two sieges at a time would measure each other.
    _alone: MutexGuard<'static, ()>,
}

impl Siege {
    fn begin() -> Self {
        Self::begin_with(USUAL_FILES, LogReader::Test)
    }

    fn begin_with(files: Files, reader: LogReader) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        raise_own_files();
        let limit = chart_limit();
        let cell = Cell::new(limit);
        let mut words: Vec<OsString> = cell.runs(files);
        words.push(program().into());
        let webhook = Webhook::start_program(&words, CONFIG, &["--grace", "0s"], reader);
        // A usual review, and one that needs more than the small part of memory that each connection may have.
        let calls = [0, 40_000].map(|padding| {
            let review = reviews::usual(padding);
            let answer = webhook.post(&review);
            assert!(answer.json()["response"]["patch"].is_string(), "{answer:?}");
            Call {
                review,
                answer: answer.body,
            }
        });
        Self {
            webhook,
            cell,
            limit,
            calls: calls.to_vec(),
            duration: ATTACK,
            _alone: alone,
        }
    }

    fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Lets the attackers at it, and judges.
    fn under(mut self, attacks: Vec<Attack>) {
        let target = Target::new(&self.webhook);
        let neighbour = Neighbour::begin(target.clone(), self.webhook.admin, self.calls.clone());
        let places = attacks.iter().map(|attack| attack.connections).sum();
        let attackers: Vec<_> = attacks.into_iter().map(|attack| attack.begin(target.clone())).collect();
        let opened = || {
            attackers
                .iter()
                .map(|attackers| attackers.opened.load(Ordering::Relaxed))
                .sum::<usize>()
        };
        let begin = Instant::now();
        let mut problems = Vec::new();
        let mut resident = 0;
        // A slow machine is besieged no less.
        while begin.elapsed() < self.duration || (opened() < places && begin.elapsed() < LONGEST) {
            std::thread::sleep(Duration::from_millis(20));
            if let Some(status) = self.webhook.try_wait() {
                let (connections, seconds) = (opened(), begin.elapsed().as_secs_f64());
                let how = status
                    .signal()
                    .map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
                problems.push(format!(
                    "it ended ({how}) after connection {connections} and {seconds:.1} s"
                ));
                break;
            }
            resident = self
                .webhook
                .try_peak_memory()
                .map_or(resident, |kibibytes| kibibytes * 1024);
        }
        let report = neighbour.end();
        let connections = opened();
        for attackers in attackers {
            attackers.end();
        }
        let is_alive = problems.is_empty();
        if is_alive {
            problems.extend(self.lift());
        }
        let (peak, kills) = (self.cell.peak(resident), self.cell.kills());
        if kills > 0 {
            problems.push(format!("the kernel killed {kills} for its memory"));
        }
        if peak.bytes >= self.limit {
            problems.push("its memory reached the limit".to_owned());
        }
        let mebibytes = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        let sockets = peak
            .sockets
            .map_or_else(String::new, |bytes| format!(", sockets {:.1}", mebibytes(bytes)));
        let mut outcome = format!(
            "peak {:.1} of {:.0} MiB ({}{sockets}); {connections} connections",
            mebibytes(peak.bytes),
            mebibytes(self.limit),
            self.cell.describe(),
        );
        for (name, calls) in [
            ("new connections", &report.fresh),
            ("kept connection", &report.kept),
            ("probes", &report.probes),
        ] {
            outcome += &format!("; {name}: {}", tell(calls));
            // Whoever is dead answers nobody: told already.
            if is_alive && (!calls.failures.is_empty() || calls.answered == 0) {
                let (failed, made) = (calls.failures.len(), calls.failures.len() + calls.answered);
                let first = calls.failures.first().map_or("none was made", String::as_str);
                problems.push(format!("{name}: {failed} of {made} calls failed, first: {first}"));
            }
        }
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        eprintln!("siege: {name}: {outcome}");
        assert!(problems.is_empty(), "{}\n{outcome}", problems.join("\n"));
    }

    /// After the attack: what was taken is given back, so that a review of the largest size has its answer.
    fn lift(&mut self) -> Option<String> {
        let large = reviews::long_texts();
        let begin = Instant::now();
        loop {
            let reply = self.webhook.try_connect(&["http/1.1"]).and_then(|mut stream| {
                stream.write(&[wire::head(large.len()), large.clone()].concat())?;
                stream.read_reply()
            });
            let problem = match reply {
                Ok(reply) if reply.status == 200 && reply.json()["response"]["patch"].is_string() => return None,
                Ok(reply) => format!("status {}", reply.status),
                Err(error) => error.to_string(),
            };
            if let Some(status) = self.webhook.try_wait() {
                return Some(format!("it ended ({status}) after the attack"));
            }
            if begin.elapsed() > Duration::from_secs(10) {
                return Some(format!("a large review after the attack: {problem}"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn tell(calls: &Calls) -> String {
    let failed = match calls.failures.len() {
        0 => String::new(),
        failed => format!(", {failed} not"),
    };
    format!(
        "{} answered{failed}, longest {:.2} s",
        calls.answered,
        calls.longest.as_secs_f64()
    )
}

fn raise_own_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    assert!(
        most >= 4096,
        "a siege needs 4,096 open files, the hard limit is {most}: raise it"
    );
    let raised = Rlimit {
        current: Some(most.min(1 << 20)),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

fn body(bytes: Vec<u8>) -> Body {
    bytes.into()
}

#[test]
#[ignore = "needs `make dist`"]
fn request_headers_that_do_not_end_fill_no_memory() {
    let kinds = [
        Kind::LongHeader,
        Kind::ManyHeaders,
        Kind::LongTarget,
        Kind::SmallHeaders,
    ];
    Siege::begin().under(vec![Attack::of(kinds, 1_100)]);
}

#[test]
#[ignore = "needs `make dist`"]
fn request_headers_that_do_not_end_from_many_addresses_fill_no_memory() {
    let kinds = [Kind::ManyHeaders, Kind::LongHeader];
    Siege::begin().under(vec![Attack::of(kinds, 1_100).from(Sources::Many(200))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn request_headers_that_do_not_end_after_a_valid_review_fill_no_memory() {
    let kinds = [Kind::ManyHeaders, Kind::LongHeader, Kind::LongTrailer];
    let attack = Attack::of(kinds, 1_100).from(Sources::Many(200));
    Siege::begin().under(vec![attack.after_a_valid_review()]);
}

#[test]
#[ignore = "needs `make dist`"]
fn the_admin_port_fills_no_memory_and_answers_probes() {
    let kinds = [
        Kind::AdminHeaders,
        Kind::AdminBody,
        Kind::AdminPipelined,
        Kind::AdminIdle,
    ];
    Siege::begin().under(vec![Attack::of(kinds, 1_000).from(Sources::Many(200))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn answers_that_nobody_reads_fill_no_memory() {
    let bodies = [255, 120, 40].map(|containers| body(reviews::large_answer(containers)));
    let mut kinds: Vec<_> = bodies.iter().cloned().map(Kind::NeverRead).collect();
    kinds.extend(bodies.into_iter().map(Kind::SlowRead));
    Siege::begin().under(vec![Attack::of(kinds, 400).from(Sources::Many(100))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn requests_without_end_whose_answers_nobody_reads_fill_no_memory() {
    let kinds = [
        Kind::Pipelined(body(reviews::usual(0))),
        Kind::Pipelined(body(reviews::denied())),
        Kind::Pipelined(body(reviews::large_answer(40))),
    ];
    Siege::begin().under(vec![Attack::of(kinds, 600).from(Sources::Many(100))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn parallel_reviews_of_the_largest_size_fill_no_memory() {
    let kinds =
        [reviews::long_lists(), reviews::long_texts(), reviews::largest_body()].map(|bytes| Kind::Post(body(bytes)));
    Siege::begin().under(vec![Attack::of(kinds, 96)]);
}

#[test]
#[ignore = "needs `make dist`"]
fn valid_pods_with_long_lists_from_many_addresses_fill_no_memory() {
    let lists = Kind::Post(body(reviews::long_lists()));
    Siege::begin().under(vec![Attack::of([lists], 64).from(Sources::Many(64))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn bodies_in_chunks_of_one_byte_fill_no_memory() {
    let kinds = [Kind::TinyChunks(body(reviews::usual(150_000))), Kind::StalledChunks];
    Siege::begin().under(vec![Attack::of(kinds, 128).from(Sources::Many(32))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn stalled_uploads_keep_no_review_waiting() {
    let slow = Kind::Slow(body(reviews::long_texts()));
    Siege::begin().under(vec![
        Attack::of([Kind::Stalled, slow, Kind::StalledChunks], 256).from(Sources::Many(64)),
    ]);
}

#[test]
#[ignore = "needs `make dist`"]
fn bodies_that_are_announced_and_never_sent_keep_no_review_waiting() {
    Siege::begin().under(vec![Attack::of([Kind::Announced], 1_100).from(Sources::Many(200))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn idle_connections_of_one_address_keep_no_new_client_out() {
    Siege::begin().under(vec![Attack::of([Kind::Idle], 1_200)]);
}

#[test]
#[ignore = "needs `make dist`"]
fn idle_connections_of_many_addresses_keep_no_new_client_out() {
    let kinds = [Kind::Idle, Kind::SlowHeader];
    Siege::begin().under(vec![Attack::of(kinds, 1_200).from(Sources::Many(200))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn idle_connections_behind_the_same_proxy_keep_no_new_client_out() {
    Siege::begin().under(vec![Attack::of([Kind::Idle], 1_200).from(Sources::Neighbours)]);
}

#[test]
#[ignore = "needs `make dist`"]
fn connections_that_were_idle_after_a_valid_review_keep_no_new_client_out() {
    Siege::begin().under(vec![Attack::of([Kind::Proven], 1_200).from(Sources::Many(200))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn handshakes_that_do_not_end_keep_no_new_client_out() {
    let kinds = [Kind::HalfOpen, Kind::LongHello, Kind::SlowHello];
    Siege::begin().under(vec![Attack::of(kinds, 1_200).from(Sources::Many(200))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn connections_beyond_the_hard_limit_of_open_files_keep_neither_probes_nor_clients_out() {
    let kinds = [Kind::Idle, Kind::HalfOpen];
    Siege::begin_with(Files::Hard(512), LogReader::Test).under(vec![Attack::of(kinds, 1_000).from(Sources::Many(200))]);
}

#[test]
#[ignore = "needs `make dist`"]
fn many_fresh_handshakes_keep_no_new_client_out() {
    let mut attack = Attack::of([Kind::Handshake], 32);
    attack.pause = Duration::from_millis(5);
    Siege::begin().lasting(Duration::from_secs(4)).under(vec![attack]);
}

#[test]
#[ignore = "needs `make dist`"]
fn texts_that_are_echoed_or_logged_fill_no_memory() {
    let kinds: Vec<_> = reviews::echoes()
        .into_iter()
        .map(|bytes| Kind::Post(body(bytes)))
        .collect();
    Siege::begin().under(vec![Attack::of(kinds, 96)]);
}

#[test]
#[ignore = "needs `make dist`"]
fn a_log_that_nobody_reads_stops_no_answer() {
    let denied = Kind::Post(body(reviews::denied()));
    let mut kinds = vec![denied; 8];
    kinds.extend(reviews::echoes().into_iter().map(|bytes| Kind::Post(body(bytes))));
    Siege::begin_with(USUAL_FILES, LogReader::Nobody)
        .lasting(Duration::from_secs(8))
        .under(vec![Attack::of(kinds, 16)]);
}

#[test]
#[ignore = "needs `make dist`"]
fn everything_at_once_is_held_out() {
    let seed = std::env::var("PODKEY_SIEGE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("siege: PODKEY_SIEGE_SEED={seed}");
    let mut kinds = vec![
        Kind::HalfOpen,
        Kind::LongHello,
        Kind::SlowHello,
        Kind::Idle,
        Kind::Proven,
        Kind::Handshake,
        Kind::LongHeader,
        Kind::LongTarget,
        Kind::ManyHeaders,
        Kind::SmallHeaders,
        Kind::SlowHeader,
        Kind::Announced,
        Kind::Stalled,
        Kind::StalledChunks,
        Kind::LongTrailer,
        Kind::Unwanted,
        Kind::AdminIdle,
        Kind::AdminHeaders,
        Kind::AdminBody,
        Kind::AdminPipelined,
    ];
    let (usual, large) = (body(reviews::usual(150_000)), body(reviews::long_texts()));
    let answer = body(reviews::large_answer(255));
    kinds.extend([Kind::TinyChunks(usual), Kind::Slow(large)]);
    kinds.extend(
        [reviews::long_lists(), reviews::largest_body(), reviews::denied()].map(|bytes| Kind::Post(body(bytes))),
    );
    kinds.extend([
        Kind::NeverRead(answer.clone()),
        Kind::SlowRead(answer.clone()),
        Kind::Pipelined(answer),
    ]);
    kinds.extend(
        reviews::echoes()
            .into_iter()
            .take(3)
            .map(|bytes| Kind::Post(body(bytes))),
    );
    let attack = |connections, sources, seed| {
        let mut attack = Attack::of(kinds.clone(), connections).from(sources);
        attack.seed = Some(seed);
        attack
    };
    Siege::begin().lasting(Duration::from_secs(10)).under(vec![
        attack(300, Sources::One, seed),
        attack(300, Sources::Many(200), seed.wrapping_add(1_000)).after_a_valid_review(),
    ]);
}
