//! `outcome.json` in the volume `podkey-bin`, or in the state directory where that volume is an image: how `init` ended, for the job hooks and for `exec`. `init` writes the file
//! last: without the file nothing counts as delivered. A sidecar keeps the file up to date. Names, paths and versions, no
//! value.

use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ContainerPaths, RenderedFile, VolumeError, file};
use crate::plan::{Binary, BoundPod};
use crate::secret::Secret;

pub(super) const OUTCOME: &str = "outcome.json";
/// The longest file, in bytes.
const MAX_OUTCOME: usize = 4 * 1024 * 1024;

/// How `init` ended. `R` is the report of a failure.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) enum InitOutcome<R> {
    /// Everything was delivered.
    Delivered(Manifest),
    /// Nothing was delivered. The job hook fails the job with this report.
    Failed(R),
}

/// The delivered files and variables.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct Manifest {
    /// Names the client token in the server's audit log: the token of `init`, or the newest token of the sidecar. Empty
    /// where nothing was read.
    pub accessor: String,
    /// The pod, which the hooks name to the server as `init` does. None where the pod has no service-account token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<BoundPod>,
    /// Each file and variable.
    pub delivered: Vec<DeliveredItem>,
    /// The secrets that end.
    pub leases: Vec<LeaseEnd>,
}

/// A file or variable, and the secret of its value.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct DeliveredItem {
    #[serde(flatten)]
    pub to: DeliveredAs,
    /// The path that was read.
    pub secret: String,
    /// The version, of a KV v2 secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// As what a secret was delivered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) enum DeliveredAs {
    /// A file, by its path in the containers.
    File(String),
    /// An environment variable, by its name.
    Env(String),
}

/// When a dynamic secret ends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct LeaseEnd {
    /// The path that was read.
    pub secret: String,
    /// Seconds since 1970.
    until: u64,
}

impl LeaseEnd {
    pub(in crate::agent) fn new(secret: &str, until: SystemTime) -> Self {
        let since = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            secret: secret.to_owned(),
            until: since.as_secs(),
        }
    }

    /// How long ago the secret ended. None: it has not ended.
    pub(in crate::agent) fn ended_since(&self, now: SystemTime) -> Option<Duration> {
        let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.until))?;
        now.duration_since(until).ok()
    }
}

/// The path of the file, as the containers see it.
pub(in crate::agent) fn path(paths: &ContainerPaths) -> String {
    format!("{}/{OUTCOME}", paths.state_directory())
}

/// Reads the file. The error continues a sentence that begins with the file's name.
pub(in crate::agent) fn read<R: DeserializeOwned>(paths: &ContainerPaths) -> Result<InitOutcome<R>, String> {
    let json = file::read(&paths.at(&path(paths)), MAX_OUTCOME).map_err(|error| error.to_string())?;
    let json = json.ok_or_else(|| "there is no such file".to_owned())?;
    serde_json::from_slice(json.expose()).map_err(|error| format!("it does not parse ({error})"))
}

/// Writes the file.
pub(in crate::agent) fn write<R: Serialize>(
    paths: &ContainerPaths,
    binary: Binary,
    outcome: &InitOutcome<R>,
) -> Result<(), VolumeError> {
    let json = serde_json::to_vec(outcome)
        .map_err(|error| VolumeError::new(format!("cannot write {OUTCOME}: {error}"), ""))?;
    let mut staged = paths.open_state(binary)?;
    staged.stage(&RenderedFile {
        place: OUTCOME.to_owned(),
        mode: 0o444,
        bytes: Secret::from(json),
    })?;
    staged.publish().map(drop)
}
