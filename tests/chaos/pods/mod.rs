//! The pods that are started: each checks its own secret, and tells by its exit code whether the secret was there.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Run;
use crate::harness::api::cluster;
use crate::harness::openbao::ROLE;
use crate::harness::pod::{patient, pod, status};
use crate::harness::{merge, wait};
use crate::secrets::{BEGINS, Secrets};

mod tests;

/// What a container ends with when its secret is not there.
const WITHOUT: i64 = 3;
/// How long the pods of the end may take.
const LAST: Duration = Duration::from_secs(400);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file, read once.
    Once,
    /// A variable, which `podkey-agent exec` sets.
    Variable,
    /// A file that a sidecar keeps fresh.
    Refreshed,
    /// A database user that a sidecar renews.
    Database,
    /// A database user, read once: its lease ends by its TTL.
    DatabaseOnce,
    /// A certificate that a sidecar replaces.
    Certificate,
    /// A file, read once, with a budget that is shorter than OpenBao is away at times.
    Brief,
    /// A database user with a sidecar, deleted while the pod starts.
    Deleted,
}

pub const KINDS: [Kind; 8] = [
    Kind::Once,
    Kind::Variable,
    Kind::Refreshed,
    Kind::Database,
    Kind::DatabaseOnce,
    Kind::Certificate,
    Kind::Brief,
    Kind::Deleted,
];

impl Kind {
    /// The pod. A secret that is missing at any time ends its container with [`WITHOUT`].
    pub fn pod(self, name: &str, secrets: &Secrets<'_>) -> Value {
        let file = "/podkey/secrets/secret";
        let kept = |is: &str| format!("for i in $(seq 20); do {is} || exit {WITHOUT}; sleep 1; done");
        let once = |is: &str| format!("{is} || exit {WITHOUT}");
        let canary = format!("grep -q ^{BEGINS} {file}");
        let user = format!("grep -q '\"username\":' {file}");
        let certificate = format!("grep -q '\"private_key\":' {file}");
        let script = match self {
            Self::Once | Self::Brief => once(&canary),
            Self::Variable => format!("case \"$SECRET\" in {BEGINS}*) ;; *) exit {WITHOUT};; esac"),
            Self::Refreshed => kept(&canary),
            Self::Database | Self::Deleted => kept(&user),
            Self::DatabaseOnce => once(&user),
            Self::Certificate => kept(&certificate),
        };
        let is_kept = matches!(
            self,
            Self::Refreshed | Self::Database | Self::Certificate | Self::Deleted
        );
        let app = if is_kept {
            patient(name, &script)
        } else {
            pod(name, &script)
        };
        let mut annotations = json!({"podkey.dev/role": ROLE, "podkey.dev/auth-mount": secrets.vault.auth});
        let kv = format!("{}/data/web", secrets.vault.kv);
        let asked = match self {
            Self::Once | Self::Refreshed | Self::Brief => {
                json!({"secret": kv, "key": "password", "file": "secret"})
            }
            Self::Database | Self::DatabaseOnce | Self::Deleted => {
                json!({"secret": secrets.database, "file": "secret", "format": "json"})
            }
            Self::Certificate => {
                let data = json!({"common_name": "chaos.example.com", "ttl": "60s"});
                json!({"secret": secrets.certificate, "data": data, "file": "secret", "format": "json"})
            }
            Self::Variable => Value::Null,
        };
        match asked {
            Value::Null => annotations["podkey.dev/env"] = json!(format!("{kv} password | SECRET")),
            asked => annotations["podkey.dev/files"] = json!(json!([asked]).to_string()),
        }
        if is_kept {
            annotations["podkey.dev/refresh"] = json!("5s");
        }
        if self == Self::Brief {
            annotations["podkey.dev/connection"] = json!("chaos");
        }
        let labels = json!({"chaos": format!("{self:?}")});
        merge(
            app,
            &json!({"metadata": {"annotations": annotations, "labels": labels}}),
        )
    }
}

/// How a pod ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Succeeded,
    /// Deleted by this test while the pod started.
    Deleted,
    /// podkey-init gave up after its budget, and says so.
    BudgetSpent,
    /// Its container ran, and did not find the secret. Never.
    WithoutSecret,
    /// podkey-init failed for another reason than its budget.
    InitFailed,
    /// Admitted without podkey. Never.
    NotInjected,
    /// The kubelet or the container runtime lost a container of the pod.
    Lost,
}

#[derive(Debug)]
pub struct Ended {
    pub name: String,
    pub end: End,
    /// Seconds of the run.
    pub created: f64,
    pub ended: f64,
    /// Why, where it did not succeed.
    pub told: String,
}

struct Started {
    kind: Kind,
    /// When it was asked for first, in seconds of the run.
    created: f64,
    /// Whether the API server said that it is there.
    is_there: bool,
    /// How many of this kind failed one after the other before this one.
    tries: u32,
}

#[derive(Default)]
struct State {
    begun: usize,
    /// Set: no other pods are begun than those that are to be created again.
    is_closing: bool,
    running: BTreeMap<String, Started>,
    ended: Vec<Ended>,
    /// To be created again: a controller would.
    again: Vec<(Kind, u32)>,
    /// How many pods succeeded after so many failed tries.
    succeeded_after: BTreeMap<u32, u32>,
    most_at_once: usize,
    restarts: BTreeMap<String, i64>,
}

#[derive(Default)]
pub struct Pods(Mutex<State>);

impl Pods {
    /// What is to be created next: a pod that failed before, or another pod. Gives its name, or nothing at the end. The pod counts as
    /// running from now on: it may end before the API server's answer comes.
    pub fn begin(&self, number: usize, created: f64) -> Option<(String, Kind)> {
        let mut state = self.0.lock().unwrap();
        let other = (!state.is_closing).then_some((KINDS[number % KINDS.len()], 0));
        let (kind, tries) = state.again.pop().or(other)?;
        state.begun += 1;
        let name = format!("pod-{}-{tries}", state.begun);
        let is_there = false;
        let started = Started {
            kind,
            created,
            is_there,
            tries,
        };
        state.running.insert(name.clone(), started);
        Some((name, kind))
    }

    /// The API server said that the pod is there.
    pub fn is_there(&self, name: &str) {
        if let Some(started) = self.0.lock().unwrap().running.get_mut(name) {
            started.is_there = true;
        }
    }

    /// Whether the pod has not ended.
    pub fn is_running(&self, name: &str) -> bool {
        self.0.lock().unwrap().running.contains_key(name)
    }

    /// The pod was not created.
    pub fn forget(&self, name: &str) {
        self.0.lock().unwrap().running.remove(name);
    }

    /// Looks at all pods every two seconds, notes how they end, and deletes those that did.
    pub fn watch(&self, run: &Run, secrets: &Secrets<'_>) {
        let path = secrets.namespace.path("pods");
        while !run.has_ended() {
            let listed = cluster().try_call("GET", &path, &Value::Null);
            if let Ok(listed) = listed
                && listed.is_success()
            {
                let now = run.now();
                let pods = listed.json()["items"].as_array().cloned().unwrap_or_default();
                for (name, patiently) in self.look(&pods, now) {
                    let grace = if patiently { "" } else { "?gracePeriodSeconds=1" };
                    let _ = cluster().try_call("DELETE", &format!("{path}/{name}{grace}"), &Value::Null);
                }
            }
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    /// Notes how pods ended. Gives the pods to delete, and whether with their usual grace.
    fn look(&self, pods: &[Value], now: f64) -> Vec<(String, bool)> {
        let mut state = self.0.lock().unwrap();
        state.most_at_once = state.most_at_once.max(pods.len());
        let mut present = Vec::new();
        let mut to_delete = Vec::new();
        for pod in pods {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            present.push(name.clone());
            let State { running, restarts, .. } = &mut *state;
            let Some(started) = running.get(&name) else {
                // Its end is known: it was created a second time, because the API server's first answer was lost.
                if pod["metadata"]["deletionTimestamp"].is_null() {
                    to_delete.push((name, false));
                }
                continue;
            };
            note_restarts(pod, restarts);
            let end = match end(pod) {
                Some(end) => end,
                // At any moment of its start.
                None if started.kind == Kind::Deleted && is_due(&name, now - started.created) => {
                    (End::Deleted, String::new())
                }
                None => continue,
            };
            to_delete.push((name.clone(), end.0 == End::Deleted));
            state.finish(name, end, now);
        }
        // Somebody else than this test deleted it: nobody may.
        let gone = state.running.iter().filter(|(name, started)| {
            started.is_there
                && now - started.created > 60.0
                && !present.contains(*name)
                && started.kind != Kind::Deleted
        });
        for name in gone.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            state.finish(name, (End::Lost, "it is gone".into()), now);
        }
        to_delete
    }

    /// Begins no other pod, and waits until every pod has ended, those too that had to be created again.
    pub fn end(&self) {
        self.0.lock().unwrap().is_closing = true;
        let all = || self.have_all_ended().then_some(());
        wait(LAST, all).unwrap_or_else(|| {
            let state = self.0.lock().unwrap();
            let names: Vec<_> = state.running.keys().collect();
            panic!(
                "these pods do not end: {names:?}, and these are not created: {:?}",
                state.again
            )
        });
    }

    /// Whether no pod runs, and none is to be created again. A pod passes from one list to the other under one lock.
    fn have_all_ended(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.running.is_empty() && state.again.is_empty()
    }

    pub fn with<T>(&self, look: impl FnOnce(&Summary<'_>) -> T) -> T {
        let state = self.0.lock().unwrap();
        look(&Summary {
            ended: &state.ended,
            again: &state.again,
            succeeded_after: &state.succeeded_after,
            most_at_once: state.most_at_once,
            restarts: &state.restarts,
        })
    }

    /// What is still to be created again.
    pub fn is_owed(&self) -> bool {
        !self.0.lock().unwrap().again.is_empty()
    }
}

pub struct Summary<'a> {
    pub ended: &'a [Ended],
    pub again: &'a [(Kind, u32)],
    pub succeeded_after: &'a BTreeMap<u32, u32>,
    pub most_at_once: usize,
    pub restarts: &'a BTreeMap<String, i64>,
}

impl State {
    fn finish(&mut self, name: String, (end, told): (End, String), now: f64) {
        let Some(started) = self.running.remove(&name) else {
            return;
        };
        if end == End::Succeeded {
            *self.succeeded_after.entry(started.tries).or_default() += 1;
        } else if end != End::Deleted {
            self.again.push((started.kind, started.tries + 1));
        }
        self.ended.push(Ended {
            name,
            end,
            created: started.created,
            ended: now,
            told,
        });
    }
}

/// Whether a pod of this name and age is to be deleted: after up to four seconds.
fn is_due(name: &str, age: f64) -> bool {
    let number = name
        .bytes()
        .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    age > f64::from(number % 40) / 10.0
}

fn note_restarts(pod: &Value, restarts: &mut BTreeMap<String, i64>) {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    for container in ["podkey-init", "podkey-sidecar", "main"] {
        let count = status(pod, container)["restartCount"].as_i64().unwrap_or_default();
        if count > 0 {
            restarts.insert(format!("{name}/{container}"), count);
        }
    }
}

/// How the pod ended, and what it tells of that. `None`: it has not ended.
fn end(pod: &Value) -> Option<(End, String)> {
    if !pod["metadata"]["annotations"]["podkey.dev/injected"].is_string() || status_of_injection(pod).is_none() {
        return Some((End::NotInjected, pod["spec"].to_string()));
    }
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let ended = |container: &str| {
        let status = status(pod, container);
        let end = &status["state"]["terminated"];
        let told = format!("{container}: {} {}", end["exitCode"], end["reason"]);
        Some((
            end["exitCode"].as_i64()?,
            told,
            end["message"].as_str().unwrap_or_default().to_owned(),
        ))
    };
    match phase {
        "Succeeded" => return Some((End::Succeeded, String::new())),
        "Failed" => {}
        _ => return None,
    }
    let whole = || pod["status"].to_string();
    if let Some((WITHOUT, told, _)) = ended("main") {
        return Some((End::WithoutSecret, format!("{told}: {}", whole())));
    }
    let (code, told, message) = ended("podkey-init").unwrap_or_else(|| (0, whole(), String::new()));
    let says = |code: i64| message.starts_with(&format!("podkey {code} stage="));
    Some(match code {
        69 | 75 if says(code) => (End::BudgetSpent, message),
        // The runtime could not start it, or nobody knows how it ended.
        0 | 128 | 137 | 255 => (End::Lost, whole()),
        _ => (End::InitFailed, format!("{told}: {message}")),
    })
}

fn status_of_injection(pod: &Value) -> Option<()> {
    let mut all = pod["spec"]["initContainers"].as_array()?.iter();
    all.any(|container| container["name"] == "podkey-init").then_some(())
}
