//! How long an answer of the server is good: for the handover, for the schedule, and in the status file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::volume::FileStatus;
use crate::schedule::Lifetime;
use crate::secret::Lease;
use crate::vault::Wanted;

/// How long an answer of the server is good.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Validity {
    /// Until somebody changes the secret.
    Static,
    /// As long as the lease.
    Lease {
        /// The server's name for the lease.
        id: String,
        /// Counted from the request.
        ttl: Duration,
        renewable: bool,
    },
    /// The secret ends by itself, this long after the request.
    Ends { ttl: Duration },
    /// The server does not say.
    Unknown,
}

impl Validity {
    /// Of a secret that was missing. A secret that appears later may be a credential.
    pub(super) fn missing(wanted: &Wanted) -> Self {
        match wanted.may_mint() {
            true => Self::Unknown,
            false => Self::Static,
        }
    }

    /// Of the answer to `wanted`.
    pub(super) fn new(wanted: &Wanted, lease: Option<&Lease>) -> Self {
        match lease {
            None if wanted.data.is_some() => Self::Unknown,
            None => Self::Static,
            Some(Lease {
                id: Some(id),
                duration,
                renewable,
            }) => Self::Lease {
                id: id.clone(),
                ttl: *duration,
                renewable: *renewable,
            },
            Some(Lease { duration, .. }) => Self::Ends { ttl: *duration },
        }
    }

    /// For the schedule.
    pub(super) fn lifetime(&self) -> Lifetime {
        match *self {
            Self::Static => Lifetime::Static,
            Self::Lease { ttl, renewable, .. } => Lifetime::Lease { ttl, renewable },
            Self::Ends { ttl } => Lifetime::Ends { ttl },
            Self::Unknown => Lifetime::Unknown,
        }
    }

    /// What a status file says. A lease is of no use without the client token, so it has no id.
    pub(super) fn of_status(status: &FileStatus) -> Self {
        match (status.ttl_seconds, status.leased) {
            (None, _) => Self::Static,
            (Some(0), _) => Self::Unknown,
            (Some(ttl), true) => Self::Lease {
                id: String::new(),
                ttl: Duration::from_secs(ttl),
                renewable: false,
            },
            (Some(ttl), false) => Self::Ends {
                ttl: Duration::from_secs(ttl),
            },
        }
    }

    /// Writes the validity into the status of a file. A lease ends with the client token, which lasts for `token` (none: for
    /// ever); a lease without a TTL has no other end.
    pub(super) fn write_to(&self, status: &mut FileStatus, token: Option<Duration>) {
        (status.ttl_seconds, status.leased) = match self {
            Self::Static => (None, false),
            Self::Lease { ttl, .. } => {
                let lasts = match token {
                    Some(token) if ttl.is_zero() => token,
                    Some(token) => token.min(*ttl),
                    None => *ttl,
                };
                (Some(whole_seconds(lasts)), true)
            }
            Self::Ends { ttl } => (Some(ttl.as_secs()), false),
            Self::Unknown => (Some(0), false),
        };
    }
}

/// Rounded up: the server counts whole seconds, so a moment after it granted 60 s, less than 60 s are left.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
