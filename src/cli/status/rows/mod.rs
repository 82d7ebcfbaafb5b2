//! What `podkey status` shows of a pod, of a controller whose pods are refused, and of a runner: rows, made from the objects that
//! the API server returns. Pure: asking is in `look`.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod init;
mod log;
mod pod;
mod refused;
mod report;
mod runner;
mod sidecar;
mod text;

use k8s_openapi::jiff::Timestamp;
use serde::{Serialize, Serializer};

pub(super) use self::log::{AgentLog, MAX_LOG_BYTES, MAX_LOG_LINES};
pub(super) use self::pod::{log_of, row};
pub(super) use self::refused::{Refusal, refusal};
pub(super) use self::runner::{RunnerObject, job, refused_runner};
pub(super) use self::text::{age, clean, first_sentence};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) namespace: String,
    /// `Pod`, or the kind of the object that has no pod because podkey refuses its pods.
    pub(super) kind: String,
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) init: Init,
    /// How many files the plan names. None: the plan cannot be read.
    pub(super) planned_files: Option<usize>,
    /// How many files `podkey-init` has written. None: `podkey-init` has not reported yet.
    pub(super) delivered_files: Option<usize>,
    /// How many variables `podkey-init` has read. None: `podkey-init` has not reported yet.
    pub(super) delivered_variables: Option<usize>,
    /// How often `podkey-init` has begun. None: the pod has no `podkey-init`, or the kubelet has not seen the pod.
    pub(super) tries: Option<i32>,
    #[serde(flatten)]
    pub(super) sidecar: Sidecar,
    /// None: the pod is no runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<Job>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    /// Since when the state of `init` holds.
    #[serde(serialize_with = "rfc3339")]
    pub(super) since: Option<Timestamp>,
    /// When the object was created.
    #[serde(serialize_with = "rfc3339")]
    pub(super) created: Option<Timestamp>,
    /// Why the pod has no secrets, or not the newest: the whole text.
    #[serde(rename = "reason", skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// What became of `podkey-init`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Init {
    /// One word: `done`, `running`, `waiting`, the name of an exit code, …
    #[serde(rename = "init")]
    pub(super) word: String,
    /// The exit code of a failure.
    #[serde(rename = "exitCode", skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<i32>,
    #[serde(skip)]
    pub(super) health: Health,
}

/// The colour of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// As it should be.
    Good,
    /// Not yet, or not at all.
    Neutral,
    /// Somebody should look at it.
    Bad,
}

/// What `podkey-sidecar` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "sidecar", rename_all = "kebab-case")]
pub(super) enum Sidecar {
    /// The pod has no sidecar.
    None,
    /// The container has not started.
    Waiting,
    /// Each file is as the server has it.
    Fresh,
    /// The files stay as they are: the server cannot be read, or refuses.
    Behind {
        /// Since when, as far as the log says.
        #[serde(rename = "behindSince", serialize_with = "as_rfc3339")]
        since: Timestamp,
        /// Whether the failure is older than the lines that were read.
        #[serde(rename = "behindLonger")]
        is_longer: bool,
    },
    /// The kubelet starts the container again.
    Restarting,
    /// The container has ended with the pod.
    Ended,
    /// The container has ended with this code, and nothing keeps the files fresh.
    Failed {
        /// The exit code.
        #[serde(rename = "sidecarExitCode")]
        code: i32,
    },
    /// The container runs; its log may not be read, or was not returned.
    Unknown,
}

/// The job of a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Job {
    /// The `EphemeralRunner` may not be read, or is gone.
    Unknown,
    /// The runner waits for a job.
    Idle,
    /// The runner does this job.
    #[serde(untagged)]
    Known(RunnerJob),
}

/// What ARC tells of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunnerJob {
    /// `owner/name`.
    pub(super) repository: String,
    pub(super) run: i64,
    /// `owner/name/.github/workflows/ci.yml@refs/heads/main`.
    pub(super) workflow: String,
    pub(super) name: String,
}

impl Row {
    /// A row of which nothing but the object is known.
    fn new(namespace: &str, kind: &str, name: &str, init: Init) -> Self {
        Self {
            namespace: clean(namespace),
            kind: clean(kind),
            name: clean(name),
            init,
            planned_files: None,
            delivered_files: None,
            delivered_variables: None,
            tries: None,
            sidecar: Sidecar::None,
            job: None,
            node: None,
            since: None,
            created: None,
            why: None,
        }
    }

    /// What tells this object from others.
    pub(super) fn key(&self) -> (String, String, String) {
        (self.namespace.clone(), self.kind.clone(), self.name.clone())
    }

    /// Whether both rows tell the same, apart from times.
    pub(super) fn tells_the_same(&self, other: &Self) -> bool {
        let timeless = |row: &Self| {
            let mut row = row.clone();
            (row.since, row.created) = (None, None);
            if let Sidecar::Behind { since, is_longer } = &mut row.sidecar {
                (*since, *is_longer) = (Timestamp::UNIX_EPOCH, false);
            }
            row
        };
        timeless(self) == timeless(other)
    }

    /// The row of an object that is gone.
    pub(super) fn gone(mut self) -> Self {
        self.init = Init::neutral("deleted");
        (self.sidecar, self.since, self.why) = (Sidecar::None, None, None);
        self
    }
}

impl Init {
    fn good(word: &str) -> Self {
        Self::of(word, Health::Good)
    }

    fn neutral(word: &str) -> Self {
        Self::of(word, Health::Neutral)
    }

    fn bad(word: &str) -> Self {
        Self::of(word, Health::Bad)
    }

    fn of(word: &str, health: Health) -> Self {
        Self {
            word: word.to_owned(),
            code: None,
            health,
        }
    }
}

fn as_rfc3339<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

fn rfc3339<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.collect_str(time),
        None => to.serialize_none(),
    }
}
