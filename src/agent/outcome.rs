//! What `init` leaves for the job hooks and for `exec`: how it ended. Written last, so that without it nothing counts as
//! delivered. A sidecar keeps it true. Names, paths and versions, no value.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::files;
use super::report::Report;

/// Its place below [`crate::plan::BIN_DIR`].
pub(super) const OUTCOME: &str = "outcome.json";
/// The plan beside it.
pub(super) const PLAN: &str = "plan.json";
/// The longest of them, in bytes.
pub(super) const MAX_OUTCOME: usize = 4 * 1024 * 1024;

/// How `init` ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Outcome {
    /// Everything was delivered.
    Delivered(Manifest),
    /// Nothing was, and the job is to fail with this.
    Failed(Report),
}

/// Reads it. The error is the rest of a sentence that begins with the file's name.
pub(super) fn read(file: &Path) -> Result<Outcome, String> {
    let json = files::read(file, MAX_OUTCOME).map_err(|error| error.to_string())?;
    let json = json.ok_or_else(|| "there is no such file".to_owned())?;
    serde_json::from_slice(json.expose()).map_err(|error| format!("it does not parse ({error})"))
}

/// What was delivered.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    /// Names the client token in the server's audit log, that of `init` or the sidecar's newest; empty where nothing was read.
    pub accessor: String,
    /// Each file and variable.
    pub delivered: Vec<Delivered>,
    /// What of it ends.
    pub leases: Vec<LeaseEnd>,
}

/// A file or variable, and where it came from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delivered {
    /// What it is.
    #[serde(flatten)]
    pub to: Target,
    /// The path that was read.
    pub secret: String,
    /// The version, of a KV v2 secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// What a secret was delivered as.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Target {
    /// A file, by the path at which the containers see it.
    File(String),
    /// An environment variable.
    Env(String),
}

/// When a dynamic secret ends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeaseEnd {
    /// Its path.
    pub secret: String,
    /// Seconds since 1970.
    until: u64,
}

impl LeaseEnd {
    pub(super) fn new(secret: &str, until: SystemTime) -> Self {
        let since = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            secret: secret.to_owned(),
            until: since.as_secs(),
        }
    }

    /// How long ago it ended, if it did.
    pub(super) fn over_since(&self, now: SystemTime) -> Option<Duration> {
        let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.until))?;
        now.duration_since(until).ok()
    }
}
