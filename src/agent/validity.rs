//! How long an answer of the server is good: for the handover, for the schedule, and in the status file.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::volume::{FileState, FileStatus};
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

/// A secret of a file, as far as the status of the file depends on it.
pub(super) struct AnsweredSecret<'a> {
    pub(super) validity: &'a Validity,
    /// When the server last gave the secret.
    pub(super) last_success: Option<SystemTime>,
    /// See [`Validity::write_to`].
    pub(super) token: Option<Duration>,
}

/// Writes the oldest success and the earliest end of these secrets into the status of a file that is made of them. A file without a
/// secret never ends, and its status keeps the time.
pub(super) fn write_earliest<'a>(status: &mut FileStatus, secrets: impl Iterator<Item = AnsweredSecret<'a>>) {
    let each = secrets.map(|secret| {
        let mut status = FileStatus::new("", FileState::Fresh);
        status.last_success = secret.last_success;
        secret.validity.write_to(&mut status, secret.token);
        status
    });
    let each: Vec<_> = each.collect();
    let Some(oldest) = each.iter().map(|status| status.last_success).min() else {
        return;
    };
    status.last_success = oldest;
    let ends = each.iter().filter_map(|each| {
        let ttl = each.ttl_seconds?;
        let later = match (oldest, each.last_success) {
            (Some(oldest), Some(success)) => success.duration_since(oldest).unwrap_or_default(),
            _ => Duration::ZERO,
        };
        // 0 says that the end is not known. It gives way to an end that is known.
        let end = if ttl == 0 {
            u64::MAX
        } else {
            ttl.saturating_add(later.as_secs())
        };
        Some((end, ttl, each.leased))
    });
    if let Some((end, ttl, leased)) = ends.min() {
        status.ttl_seconds = Some(if ttl == 0 { 0 } else { end });
        status.leased = leased;
    }
}

/// Rounded up: the server counts whole seconds, so a moment after it granted 60 s, less than 60 s are left.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_RENEWABLE: bool = false;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// The last success, the seconds until the end, and whether the secret has a lease, of secrets with these last successes.
    fn written(secrets: &[(Validity, Option<u64>)]) -> (Option<u64>, Option<u64>, bool) {
        let mut status = FileStatus::new("a, b", FileState::Fresh);
        let secrets = secrets.iter().map(|(validity, success)| AnsweredSecret {
            validity,
            last_success: success.map(at),
            token: None,
        });
        write_earliest(&mut status, secrets);
        let success = status
            .last_success
            .map(|success| success.duration_since(at(0)).unwrap().as_secs());
        (success, status.ttl_seconds, status.leased)
    }

    fn ends(seconds: u64) -> Validity {
        let ttl = Duration::from_secs(seconds);
        Validity::Ends { ttl }
    }

    fn lease(seconds: u64) -> Validity {
        Validity::Lease {
            id: "lease".to_owned(),
            ttl: Duration::from_secs(seconds),
            renewable: NOT_RENEWABLE,
        }
    }

    #[test]
    fn a_file_of_several_secrets_has_the_oldest_success_and_the_earliest_end() {
        assert_eq!(written(&[(Validity::Static, Some(100))]), (Some(100), None, false));
        assert_eq!(written(&[(lease(60), Some(100))]), (Some(100), Some(60), true));
        // The end is counted from the success that the status names.
        assert_eq!(
            written(&[(Validity::Static, Some(100)), (ends(60), Some(140))]),
            (Some(100), Some(100), false)
        );
        assert_eq!(
            written(&[(lease(30), Some(120)), (ends(60), Some(100))]),
            (Some(100), Some(50), true)
        );
        assert_eq!(
            written(&[(lease(90), Some(120)), (ends(60), Some(100))]),
            (Some(100), Some(60), false)
        );
        assert_eq!(
            written(&[(Validity::Unknown, Some(100)), (ends(60), Some(100))]),
            (Some(100), Some(60), false)
        );
        assert_eq!(
            written(&[(Validity::Unknown, Some(100)), (Validity::Static, Some(90))]),
            (Some(90), Some(0), false)
        );
        assert_eq!(
            written(&[(Validity::Static, Some(100)), (Validity::Static, None)]),
            (None, None, false)
        );
    }

    #[test]
    fn a_file_without_a_secret_keeps_its_time_and_never_ends() {
        let mut status = FileStatus::new("", FileState::Fresh);
        status.last_success = Some(at(5));
        write_earliest(&mut status, std::iter::empty());
        assert_eq!((status.last_success, status.ttl_seconds), (Some(at(5)), None));
    }
}
