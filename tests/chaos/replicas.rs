//! The webhook's replicas as they are, not as the API shows them: which of them listen, by their processes on this machine, and
//! where the API server's requests go, by kube-proxy's own rules. So a refused admission can be judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::Run;
use crate::harness::install::NAME;
use crate::harness::{LIMIT, wait};

/// The webhook's port, as `/proc/PID/net/tcp` writes it: 8443.
const PORT: &str = ":20FB";
/// From one look to the next: what changes between two looks is taken for changed at either.
const LOOK: Duration = Duration::from_millis(100);

/// Whether the webhook could be reached at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Every replica that requests go to listens.
    Good,
    /// Requests go to a dead replica too: Kubernetes has not noticed its death.
    NotNoticed,
    /// A replica listens, and requests go to none: Kubernetes has not noticed that it is ready.
    NotReady,
    /// No replica listens.
    None,
}

#[derive(Clone, Copy)]
struct Look {
    at: f64,
    state: State,
}

/// The memory of a replica's process.
#[derive(Clone, Debug)]
pub struct Memory {
    pub at: f64,
    pub pid: i32,
    pub rss_kib: u64,
    pub peak_kib: u64,
}

#[derive(Default)]
pub struct Replicas {
    looks: Mutex<Vec<Look>>,
    memory: Mutex<Vec<Memory>>,
}

/// A process of `podkey serve` on this machine, in the release of the tests.
pub struct Process {
    pub pid: i32,
}

impl Process {
    /// Whether it was there.
    pub fn kill(&self) -> bool {
        let pid = rustix::process::Pid::from_raw(self.pid).expect("no zero");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.pid)).unwrap_or_default()
    }

    /// The addresses of its pod, if it listens on the webhook's port.
    fn listens(&self) -> Vec<String> {
        let listens = ["net/tcp", "net/tcp6"].iter().any(|table| {
            let table = self.file(table);
            table.lines().any(|line| {
                let mut fields = line.split_whitespace().skip(1);
                fields.next().is_some_and(|local| local.ends_with(PORT)) && fields.nth(1) == Some("0A")
            })
        });
        if !listens {
            return Vec::new();
        }
        let trie = self.file("net/fib_trie");
        let mut last = "";
        let mut addresses = Vec::new();
        for line in trie.lines() {
            if let Some((_, address)) = line.split_once("|-- ") {
                last = address.trim();
            } else if line.contains("/32 host LOCAL") {
                addresses.push(last.to_owned());
            }
        }
        addresses
    }
}

/// `None`: kube-proxy's rules could not be read.
fn state(rules: &Rules) -> Option<State> {
    let destinations = rules.destinations()?;
    let listening: BTreeSet<String> = processes().iter().flat_map(Process::listens).collect();
    Some(match destinations.intersection(&listening).count() {
        0 if listening.is_empty() => State::None,
        0 => State::NotReady,
        alive if alive < destinations.len() => State::NotNoticed,
        _ => State::Good,
    })
}

/// The replicas' processes.
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = pids.filter(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let command = || fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        name.trim() == "podkey"
            && command().contains("\0serve\0")
            && command().contains(&format!("--namespace\0{NAME}\0"))
    });
    ours.map(|pid| Process { pid }).collect()
}

/// kube-proxy's `nft`, and the variables that it needs.
struct Rules(Vec<(String, String)>);

impl Rules {
    fn new() -> Self {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let mut paths = entries.map(|entry| entry.path());
        let proxy: PathBuf = paths
            .find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "kube-proxy"))
            .expect("kube-proxy runs on this machine");
        let environ = fs::read_to_string(proxy.join("environ")).unwrap();
        let pairs = environ.split('\0').filter_map(|pair| pair.split_once('='));
        let needed = pairs.filter(|(name, _)| ["PATH", "LD_LIBRARY_PATH"].contains(name));
        Self(
            needed
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The addresses that requests to the webhook's Service go to. `None`: the rules could not be read.
    fn destinations(&self) -> Option<BTreeSet<String>> {
        let mut command = Command::new("/usr/bin/env");
        command.envs(self.0.iter().cloned());
        let output = command
            .args(["nft", "list", "table", "ip", "kube-proxy"])
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| addresses_in(&text))
    }
}

/// The addresses in the chain `service-XXXXXXXX-podkey/podkey/tcp/webhook`, where the Xs are a hash.
fn addresses_in(rules: &str) -> BTreeSet<String> {
    let name = format!("-{NAME}/{NAME}/tcp/webhook {{");
    let mut chains = rules.split("\tchain service-").skip(1);
    let ours = chains.find(|chain| chain.get(8..).is_some_and(|rest| rest.starts_with(&name)));
    let body = ours.and_then(|chain| chain.split("\n\t}").next()).unwrap_or_default();
    let words = body.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let addresses = words.filter(|word| word.parse::<Ipv4Addr>().is_ok());
    addresses.map(str::to_owned).collect()
}

impl Replicas {
    /// Looks ten times a second, until the run has ended.
    pub fn watch(&self, run: &Run) {
        let rules = Rules::new();
        while !run.has_ended() {
            let at = run.now();
            if let Some(state) = state(&rules) {
                self.looks.lock().unwrap().push(Look { at, state });
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until all replicas serve, as they do when nothing is killed: otherwise nothing could be judged.
    pub fn all_serve() {
        let rules = Rules::new();
        let good = || (processes().len() == 2 && state(&rules) == Some(State::Good)).then_some(());
        wait(LIMIT, good).expect("two replicas listen, and requests go to both");
    }

    /// The worst state in this time.
    pub fn worst(&self, from: f64, to: f64) -> State {
        let looks = self.looks.lock().unwrap();
        let begin = looks.partition_point(|look| look.at < from).saturating_sub(1);
        let end = (looks.partition_point(|look| look.at < to) + 1).min(looks.len());
        looks[begin..end]
            .iter()
            .map(|look| look.state)
            .max()
            .unwrap_or(State::None)
    }

    /// How many seconds each state lasted.
    pub fn lasted(&self) -> BTreeMap<State, f64> {
        let looks = self.looks.lock().unwrap();
        let mut lasted = BTreeMap::new();
        for pair in looks.windows(2) {
            *lasted.entry(pair[0].state).or_default() += pair[1].at - pair[0].at;
        }
        lasted
    }

    /// Notes the memory of each replica every ten seconds.
    pub fn measure(&self, run: &Run) {
        let mut next = Instant::now();
        while !run.has_ended() {
            if Instant::now() >= next {
                next += Duration::from_secs(10);
                for process in processes() {
                    let status = process.file("status");
                    let number = |name: &str| {
                        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                        line.split_whitespace().next()?.parse().ok()
                    };
                    if let (Some(rss_kib), Some(peak_kib)) = (number("VmRSS:"), number("VmHWM:")) {
                        let (at, pid) = (run.now(), process.pid);
                        let memory = Memory {
                            at,
                            pid,
                            rss_kib,
                            peak_kib,
                        };
                        self.memory.lock().unwrap().push(memory);
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn memory(&self) -> Vec<Memory> {
        self.memory.lock().unwrap().clone()
    }
}
