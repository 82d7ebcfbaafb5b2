//! `.status.json`: the state of each file, for apps and people, and for a sidecar that the kubelet started again. Names,
//! paths, versions and times, no value.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub(in crate::agent) use crate::plan::FileState;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct StatusFile {
    /// When the file was written, by the node's clock.
    #[serde(with = "rfc3339")]
    pub updated: SystemTime,
    /// The worst state of a file.
    pub state: FileState,
    /// Each file, by its shown name.
    pub files: BTreeMap<String, FileStatus>,
}

/// The state of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct FileStatus {
    /// The paths that were read, with commas between them.
    pub secret: String,
    /// The version of the secret in the file (KV v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    pub state: FileState,
    /// Why the file is not fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the server last confirmed the content, by the node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_rfc3339")]
    pub last_success: Option<SystemTime>,
    /// When the server is asked next, by the node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_rfc3339")]
    pub next_try: Option<SystemTime>,
    /// The secret ends by itself, this long after it was obtained; 0: the server does not say when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// The secret has a lease, which ends with the client token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leased: bool,
}

impl FileStatus {
    pub(in crate::agent) fn new(secret: &str, state: FileState) -> Self {
        Self {
            secret: secret.to_owned(),
            version: None,
            state,
            reason: None,
            last_success: None,
            next_try: None,
            ttl_seconds: None,
            leased: false,
        }
    }

    /// How long ago the server last confirmed the content, by the node's clock. None: it never did.
    pub(in crate::agent) fn age(&self) -> Option<Duration> {
        let last = self.last_success?;
        Some(SystemTime::now().duration_since(last).unwrap_or_default())
    }
}

impl StatusFile {
    /// The status of some of the files, written at the same time. Without any file the state stays.
    pub(in crate::agent) fn of(&self, files: BTreeMap<String, FileStatus>) -> Self {
        let worst = files.values().map(|file| file.state).max();
        Self {
            updated: self.updated,
            state: match self.files.is_empty() {
                true => self.state,
                false => worst.unwrap_or(FileState::Fresh),
            },
            files,
        }
    }

    /// Nothing was delivered.
    pub(in crate::agent) fn failed() -> Self {
        Self {
            state: FileState::Failed,
            ..Self::new(BTreeMap::new())
        }
    }

    /// The state of these files now.
    pub(in crate::agent) fn new(files: BTreeMap<String, FileStatus>) -> Self {
        Self {
            updated: SystemTime::now(),
            state: files.values().map(|file| file.state).max().unwrap_or(FileState::Fresh),
            files,
        }
    }
}

mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_seconds(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

mod maybe_rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::rfc3339::serialize(time, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        super::rfc3339::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{STATUS_EXAMPLE, STATUS_FIELDS, STATUS_OF_FILE_FIELDS};

    /// What people read about the status names each field that the sidecar writes, and no other.
    #[test]
    fn each_field_of_the_status_is_documented() {
        let file = FileStatus {
            version: Some(1),
            reason: Some(String::new()),
            last_success: Some(SystemTime::now()),
            next_try: Some(SystemTime::now()),
            ttl_seconds: Some(1),
            leased: true,
            ..FileStatus::new("kv/data/web", FileState::Fresh)
        };
        let status = serde_json::to_value(StatusFile::new([("web.json".to_owned(), file)].into())).unwrap();
        let fields = |of: &serde_json::Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let names = |table: &[(&str, &str)]| table.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(fields(&status), names(STATUS_FIELDS));
        assert_eq!(fields(&status["files"]["web.json"]), names(STATUS_OF_FILE_FIELDS));
    }

    #[test]
    fn the_documented_example_is_a_status_that_the_sidecar_writes() {
        let status: StatusFile = serde_json::from_str(STATUS_EXAMPLE).unwrap();
        assert_eq!(
            status.state,
            status.files.values().map(|file| file.state).max().unwrap()
        );
        assert_eq!(serde_json::to_string_pretty(&status).unwrap() + "\n", STATUS_EXAMPLE);
        for (field, _) in STATUS_FIELDS.iter().chain(STATUS_OF_FILE_FIELDS) {
            assert!(STATUS_EXAMPLE.contains(&format!("\"{field}\":")), "{field}");
        }
    }
}
