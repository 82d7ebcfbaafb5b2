//! Pods that are created all the time while something else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::cluster;
use super::merge;
use super::namespace::Namespace;
use super::pod::init_containers;

/// One creation.
#[derive(Debug)]
pub struct Attempt {
    /// When it was asked for, since the churn began.
    pub at: Duration,
    pub took: Duration,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Admitted, with all that podkey adds.
    Injected,
    /// Admitted, with nothing of podkey's.
    Plain,
    /// Admitted with some of it: the pod.
    HalfWay(String),
    Refused(String),
}

/// Creates the same pod again and again. These are dry runs: they go through admission whole, and no node has room for so
/// many pods.
pub struct Churn {
    begun: Instant,
    stop: Arc<AtomicBool>,
    creators: Vec<JoinHandle<Vec<Attempt>>>,
}

impl Churn {
    pub fn start(namespace: &Namespace, pod: &Value, a_second: u32) -> Self {
        let path = namespace.path("pods?dryRun=All");
        let pod = merge(json!({"apiVersion": "v1", "kind": "Pod"}), pod);
        let (begun, stop, next) = (
            Instant::now(),
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU32::new(0)),
        );
        // A slow answer holds up only one of them.
        let creators = (0..4).map(|_| {
            let (path, pod, stop, next) = (path.clone(), pod.clone(), stop.clone(), next.clone());
            std::thread::spawn(move || {
                let mut attempts = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let due = Duration::from_secs(1) * next.fetch_add(1, Ordering::Relaxed) / a_second;
                    std::thread::sleep(due.saturating_sub(begun.elapsed()));
                    let at = begun.elapsed();
                    let outcome = outcome(&path, &pod);
                    let took = begun.elapsed().saturating_sub(at);
                    attempts.push(Attempt { at, took, outcome });
                }
                attempts
            })
        });
        Self {
            begun,
            creators: creators.collect(),
            stop,
        }
    }

    /// How long it has been going on.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Ends it. Gives what was attempted, in the order of time.
    pub fn stop(self) -> Vec<Attempt> {
        self.stop.store(true, Ordering::Relaxed);
        let creators = self.creators.into_iter();
        let mut attempts: Vec<_> = creators.flat_map(|creator| creator.join().unwrap()).collect();
        attempts.sort_by_key(|attempt| attempt.at);
        attempts
    }
}

fn outcome(path: &str, pod: &Value) -> Outcome {
    match cluster().try_call("POST", path, pod) {
        Ok(answer) if answer.is_success() => shape(&answer.json()),
        Ok(answer) => Outcome::Refused(answer.message()),
        Err(error) => Outcome::Refused(error),
    }
}

/// What podkey has done to a pod.
fn shape(pod: &Value) -> Outcome {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let volumes = volumes.filter_map(|volume| volume["name"].as_str());
    let volumes = volumes.filter(|name| name.starts_with("podkey-")).count();
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array().into_iter();
    let mounts = mounts.flatten().filter_map(|mount| mount["mountPath"].as_str());
    let parts = [
        pod["metadata"]["annotations"]["podkey.dev/injected"].is_string(),
        init_containers(pod) == ["podkey-init"],
        volumes == 2,
        mounts.filter(|path| path.starts_with("/podkey/")).count() == 1,
    ];
    match parts {
        [true, true, true, true] => Outcome::Injected,
        [false, false, false, false] if volumes == 0 => Outcome::Plain,
        _ => Outcome::HalfWay(pod.to_string()),
    }
}
