//! `.status.json`: what apps and people can see of each file, and what a sidecar that was started anew goes on from. Names,
//! paths, versions and times, no value.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::agent::handover::{Held, whole_seconds};

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct Status {
    /// When it was written, by the node's clock.
    #[serde(with = "rfc3339")]
    pub updated: SystemTime,
    /// The worst of the files' states.
    pub state: FileState,
    /// Each file, by its path below the directory that the containers see.
    pub files: BTreeMap<String, FileStatus>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct FileStatus {
    /// The path that was read.
    pub secret: String,
    /// The version of what is in the file, of a KV v2 secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How it is.
    pub state: FileState,
    /// Why it is not fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the server last confirmed what is in it, by the node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_rfc3339")]
    pub last_success: Option<SystemTime>,
    /// When the server is asked next, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_rfc3339")]
    pub next_try: Option<SystemTime>,
    /// It ends by itself, so long after it was obtained; 0 where nobody says how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// It has a lease, which ends with the client token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leased: bool,
}

/// How a file is, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::agent) enum FileState {
    /// As the server had it when it was last asked.
    Fresh,
    /// What is in it comes from earlier: the last try failed, or there was none yet, or none when it was due.
    Stale,
    /// The server has something else, of which this file, or another one of the same secret, cannot be made.
    Invalid,
    /// There is something else, and it cannot be written.
    Unwritten,
    /// Reading it is denied.
    Denied,
    /// The secret, or the field, is gone.
    Gone,
    /// The credential in it has ended.
    Expired,
    /// Nothing was delivered: the job will fail.
    Failed,
}

impl FileStatus {
    /// Of a file made of this secret.
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

    /// Says how long it is good for. A lease ends with its client `token`; none: the token never ends. One without a TTL of its
    /// own has no other end.
    pub(in crate::agent) fn holds(&mut self, held: &Held, token: Option<Duration>) {
        (self.ttl_seconds, self.leased) = match held {
            Held::Static => (None, false),
            Held::Lease { ttl, .. } => {
                let lasts = match token {
                    Some(token) if ttl.is_zero() => token,
                    Some(token) => token.min(*ttl),
                    None => *ttl,
                };
                (Some(whole_seconds(lasts)), true)
            }
            Held::Ends { ttl } => (Some(ttl.as_secs()), false),
            Held::Unknown => (Some(0), false),
        };
    }

    /// How long it was good for, as far as it tells. Its lease is of no use without the client token.
    pub(in crate::agent) fn held(&self) -> Held {
        match (self.ttl_seconds, self.leased) {
            (None, _) => Held::Static,
            (Some(0), _) => Held::Unknown,
            (Some(ttl), true) => Held::Lease {
                id: String::new(),
                ttl: Duration::from_secs(ttl),
                renewable: false,
            },
            (Some(ttl), false) => Held::Ends {
                ttl: Duration::from_secs(ttl),
            },
        }
    }

    /// How long ago the server last confirmed it, by the node's clock.
    pub(in crate::agent) fn age(&self) -> Option<Duration> {
        let last = self.last_success?;
        Some(SystemTime::now().duration_since(last).unwrap_or_default())
    }
}

impl Status {
    /// Nothing was delivered.
    pub(in crate::agent) fn failed() -> Self {
        Self {
            state: FileState::Failed,
            ..Self::new(BTreeMap::new())
        }
    }

    /// Of these files, now.
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
