//! One webhook under its memory limit, the attackers, the well-behaved client beside them, and the judgement.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::attacker::{Attack, Attackers};
use crate::cell::{Cell, Files};
use crate::neighbour::{Call, Calls, Neighbour, Report};
use crate::reviews;
use crate::support::webhook::{CONFIG, LogReader, Webhook, command_of};
use crate::wire::{self, Target};

/// The shortest attack, where a test sets no other. An attack goes on until each of its connections was opened once.
const SHORTEST_ATTACK: Duration = Duration::from_secs(4);
const LONGEST_ATTACK: Duration = Duration::from_secs(12);
/// The soft limit of open files that container runtimes give by default, or that systemd gave for years.
pub(crate) const USUAL_FILES: Files = Files::Soft(1024);

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
pub(crate) struct Siege {
    webhook: Webhook,
    // Declared after the webhook: dropped after its process is gone.
    cell: Cell,
    limit: u64,
    calls: Vec<Call>,
    duration: Duration,
    /// The peak of the program's resident memory, in bytes.
    resident: u64,
    /// Two sieges at once would measure each other.
    _alone: MutexGuard<'static, ()>,
}

impl Siege {
    pub(crate) fn begin() -> Self {
        Self::begin_with(USUAL_FILES, LogReader::Test)
    }

    pub(crate) fn begin_with(files: Files, reader: LogReader) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        raise_own_files();
        let limit = chart_limit();
        let cell = Cell::new(limit);
        let webhook = Webhook::start_as(CONFIG, reader, |folder| {
            let podkey = command_of(&program(), folder);
            let mut limited = cell.command(files);
            limited.arg(podkey.get_program()).args(podkey.get_args());
            limited.args(["--grace", "0s"]);
            limited
        });
        // A review of the usual size, and a review that needs memory of the account.
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
            duration: SHORTEST_ATTACK,
            resident: 0,
            _alone: alone,
        }
    }

    pub(crate) fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Attacks, and judges the result.
    pub(crate) fn under(mut self, attacks: Vec<Attack>) {
        let target = Target::new(&self.webhook);
        let connections = attacks.iter().map(|attack| attack.connections).sum();
        let neighbour = Neighbour::begin(target.clone(), self.webhook.admin, self.calls.clone());
        let attackers: Vec<_> = attacks.into_iter().map(|attack| attack.begin(target.clone())).collect();
        let ended = self.watch(&attackers, connections);
        let report = neighbour.end();
        let connections = opened(&attackers);
        for attackers in attackers {
            attackers.end();
        }
        let mut problems = match ended {
            Some(problem) => vec![problem],
            None => {
                // If the program has ended, the missing answers need no report.
                let mut problems = report.problems();
                problems.extend(self.large_review_problem());
                problems
            }
        };
        let peak = self.cell.peak(self.resident);
        match self.cell.kills() {
            0 => {}
            kills => problems.push(format!("the kernel killed {kills} for its memory")),
        }
        if peak.bytes >= self.limit {
            problems.push("its memory reached the limit".to_owned());
        }
        let sockets = peak.sockets.map(|bytes| format!(", sockets {}", mebibytes(bytes)));
        let outcome = format!(
            "peak {} of {} MiB ({}{}); {connections} connections; {report}",
            mebibytes(peak.bytes),
            mebibytes(self.limit),
            self.cell.describe(),
            sockets.unwrap_or_default(),
        );
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        eprintln!("siege: {name}: {outcome}");
        assert!(problems.is_empty(), "{}\n{outcome}", problems.join("\n"));
    }

    /// Waits for the end of the attack. `Some`: the program has ended.
    fn watch(&mut self, attackers: &[Attackers], connections: usize) -> Option<String> {
        let begin = Instant::now();
        // A slow machine gets as many connections.
        while begin.elapsed() < self.duration || (opened(attackers) < connections && begin.elapsed() < LONGEST_ATTACK) {
            std::thread::sleep(Duration::from_millis(20));
            if let Some(status) = self.webhook.try_wait() {
                let (connection, seconds) = (opened(attackers), begin.elapsed().as_secs_f64());
                return Some(format!(
                    "{} after connection {connection} and {seconds:.1} s",
                    ended_how(status)
                ));
            }
            let resident = self.webhook.try_peak_memory().map(|kibibytes| kibibytes * 1024);
            self.resident = resident.unwrap_or(self.resident);
        }
        None
    }

    /// After the attack, a review of the largest size must be answered: the memory is free again.
    fn large_review_problem(&mut self) -> Option<String> {
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
                return Some(format!("{} after the attack", ended_how(status)));
            }
            if begin.elapsed() > Duration::from_secs(10) {
                return Some(format!("a large review after the attack: {problem}"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Report {
    fn calls(&self) -> [(&'static str, &Calls); 3] {
        [
            ("new connections", &self.fresh),
            ("kept connection", &self.kept),
            ("probes", &self.probes),
        ]
    }

    fn problems(&self) -> Vec<String> {
        let problem = |(name, calls): (&str, &Calls)| match (calls.answered, calls.failures.as_slice()) {
            (0, []) => Some(format!("{name}: no call was made")),
            (_, []) => None,
            (answered, failures) => {
                let (failed, made) = (failures.len(), failures.len() + answered);
                Some(format!(
                    "{name}: {failed} of {made} calls failed, first: {}",
                    failures[0]
                ))
            }
        };
        self.calls().into_iter().filter_map(problem).collect()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, calls) in self.calls() {
            write!(
                formatter,
                "{name}: {} answered, longest {:.2} s",
                calls.answered,
                calls.longest.as_secs_f64()
            )?;
            if !calls.failures.is_empty() {
                write!(formatter, ", {} failed", calls.failures.len())?;
            }
            formatter.write_str("; ")?;
        }
        Ok(())
    }
}

fn opened(attackers: &[Attackers]) -> usize {
    attackers
        .iter()
        .map(|attackers| attackers.opened.load(Ordering::Relaxed))
        .sum()
}

fn ended_how(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("podkey was ended by signal {signal}"),
        None => format!("podkey ended ({status})"),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1024.0 / 1024.0)
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
