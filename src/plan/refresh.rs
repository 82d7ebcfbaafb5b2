//! Secrets that change while the pod lives: how often they are read again, and what happens to a file whose secret is gone.

use serde::{Deserialize, Serialize};

use super::{Interval, OnChange, words::words};

/// The sidecar's part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// The time between two reads of a secret without a lease.
    pub(crate) interval: Interval,
    /// The actions after the files have changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) on_change: Vec<OnChange>,
}

words! {
    /// What happens to a file when its secret is gone, or the field that the file is made of.
    pub enum WhenGone {
        /// The file stays as it was.
        Keep = "keep",
        /// The file is deleted.
        Delete = "delete",
        /// The file is emptied and closed to all (mode 0000), so that a program that opens the file fails.
        Fail = "fail",
    }
    default Keep
}

impl WhenGone {
    pub(super) fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}
