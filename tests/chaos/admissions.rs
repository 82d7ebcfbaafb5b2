//! Creations of pods at a steady rate: some are started, the others are dry runs, which go through admission whole.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::api::{Answer, cluster};
use crate::harness::merge;
use crate::harness::pod::init_containers;
use crate::pods::{KINDS, Pods};
use crate::secrets::Secrets;
use crate::{Asked, Run};

/// A slow answer holds up only one of them.
pub const CREATORS: usize = 12;
/// A controller that was refused tries again after this.
const AGAIN: Duration = Duration::from_millis(1000);

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Injected,
    /// Admitted without podkey. Never.
    NotInjected,
    /// The API server could not reach the webhook.
    Unreached,
    /// podkey's own answer, or the guard's.
    Denied,
    /// The API server did not answer, or not with a decision.
    NoAnswer,
}

#[derive(Clone, Debug)]
pub struct Attempt {
    /// Seconds of the run.
    pub from: f64,
    pub to: f64,
    pub outcome: Outcome,
    pub told: String,
}

#[derive(Default)]
pub struct Admissions {
    next: AtomicUsize,
    attempts: Mutex<Vec<Attempt>>,
}

impl Admissions {
    /// Creates pods until the run is over; then those that are owed.
    pub fn create(&self, run: &Run, asked: &Asked, secrets: &Secrets<'_>, pods: &Pods) {
        // Of so many requests one is no dry run.
        let every = (asked.rate / asked.started).round().max(1.0) as usize;
        while !run.has_ended() {
            if run.is_over() {
                // Those that failed are created again, until each has succeeded.
                match pods.is_owed() {
                    true => self.start(run, secrets, pods, self.next.fetch_add(1, Ordering::Relaxed)),
                    false => std::thread::sleep(Duration::from_millis(200)),
                }
                continue;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = number as f64 / asked.rate - run.now();
            std::thread::sleep(Duration::from_secs_f64(due.max(0.0)));
            if number.is_multiple_of(every) {
                self.start(run, secrets, pods, number / every);
            } else {
                let pod = KINDS[number % KINDS.len()].pod(&format!("dry-{number}"), secrets);
                self.ask(run, &secrets.namespace.path("pods?dryRun=All"), &pod);
            }
        }
    }

    /// Creates a pod, as a controller does: again and again, until it is there.
    fn start(&self, run: &Run, secrets: &Secrets<'_>, pods: &Pods, number: usize) {
        let Some((name, kind)) = pods.begin(number, run.now()) else {
            return;
        };
        let pod = kind.pod(&name, secrets);
        // It may run, and end, though the API server's answer was lost.
        while pods.is_running(&name) {
            if self.ask(run, &secrets.namespace.path("pods"), &pod) {
                return pods.is_there(&name);
            }
            if run.has_ended() {
                return pods.forget(&name);
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// One request. Gives whether the pod is there.
    fn ask(&self, run: &Run, path: &str, pod: &Value) -> bool {
        let pod = merge(json!({"apiVersion": "v1", "kind": "Pod"}), pod);
        let from = run.now();
        let answer = cluster().try_call("POST", path, &pod);
        let to = run.now();
        let (outcome, told) = match answer {
            // It was created by a request whose answer was lost.
            Ok(answer) if answer.status == 409 && answer.message().contains("already exists") => return true,
            Ok(answer) => outcome(&answer),
            Err(error) => (Outcome::NoAnswer, error),
        };
        let is_there = matches!(outcome, Outcome::Injected | Outcome::NotInjected);
        let attempt = Attempt {
            from,
            to,
            outcome,
            told,
        };
        self.attempts.lock().unwrap().push(attempt);
        is_there
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        let mut attempts = self.attempts.lock().unwrap().clone();
        attempts.sort_by(|one, other| one.from.total_cmp(&other.from));
        attempts
    }

    pub fn counts(&self) -> BTreeMap<Outcome, usize> {
        let mut counts = BTreeMap::new();
        for attempt in self.attempts.lock().unwrap().iter() {
            *counts.entry(attempt.outcome.clone()).or_default() += 1;
        }
        counts
    }
}

fn outcome(answer: &Answer) -> (Outcome, String) {
    if answer.is_success() {
        let pod = answer.json();
        let is_injected = pod["metadata"]["annotations"]["podkey.dev/injected"].is_string()
            && init_containers(&pod).contains(&"podkey-init");
        return match is_injected {
            true => (Outcome::Injected, String::new()),
            false => (Outcome::NotInjected, pod["spec"].to_string()),
        };
    }
    let message = answer.message();
    let told = format!("{} {message}", answer.status);
    if message.contains("failed calling webhook") {
        (Outcome::Unreached, told)
    } else if message.contains("denied") {
        (Outcome::Denied, told)
    } else {
        (Outcome::NoAnswer, told)
    }
}
