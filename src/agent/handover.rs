//! What `init` hands to the sidecar instead of revoking it: its client token, and what it read with it. A file that only the two
//! of them can see, and that the sidecar unlinks as soon as it has read it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::files::{self, Staged};
use super::report::Failure;
use crate::plan::{ExitCode, HANDOVER_DIR, HANDOVER_FILE};
use crate::schedule::Lifetime;
use crate::secret::Lease;
use crate::vault::{Handed, Session, Wanted};

/// The longest, in bytes.
const MAX_HANDOVER: usize = 1024 * 1024;

/// How `init` ended, for the sidecar.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Handover<'a> {
    /// All was delivered.
    #[serde(borrow)]
    Delivered(Delivered<'a>),
    /// Nothing was, and the job is to fail: there is nothing to keep fresh.
    Failed,
}

/// A session, and what was read with it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delivered<'a> {
    #[serde(borrow)]
    session: Handed<'a>,
    /// When the login was, on the machine's own clock.
    pub logged_in: Duration,
    /// When the reads began, likewise.
    pub read: Duration,
    /// Of each thing that was wanted, in the plan's order.
    pub sources: Vec<Held>,
}

/// For how long something that was read is good.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Held {
    /// Until somebody changes it.
    Static,
    /// As long as its lease.
    Lease {
        /// What the server knows it by.
        id: String,
        /// Since it was asked for.
        ttl: Duration,
        renewable: bool,
    },
    /// It ends by itself, so long after it was asked for.
    Ends { ttl: Duration },
    /// Nobody says.
    Unknown,
}

impl Held {
    /// Of something that was not there. What comes in its place may be a credential.
    pub(super) fn missing(wanted: &Wanted) -> Self {
        match wanted.may_mint() {
            true => Self::Unknown,
            false => Self::Static,
        }
    }

    /// Of an answer to what was wanted.
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

    /// As the schedule wants it.
    pub(super) fn lifetime(&self) -> Lifetime {
        match *self {
            Self::Static => Lifetime::Static,
            Self::Lease { ttl, renewable, .. } => Lifetime::Lease { ttl, renewable },
            Self::Ends { ttl } => Lifetime::Ends { ttl },
            Self::Unknown => Lifetime::Unknown,
        }
    }
}

/// The server counts in whole seconds: a moment less than 60 s is what is left of 60.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The time on a clock of the machine that all its containers share, that nobody sets, and that counts its sleep too.
pub(super) fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

impl<'a> Handover<'a> {
    /// All was delivered, with this session.
    pub(super) fn delivered(session: &'a Session, read: Duration, sources: Vec<Held>) -> Option<Self> {
        Some(Self::Delivered(Delivered {
            session: session.handed()?,
            logged_in: boot_time().saturating_sub(session.age()),
            read,
            sources,
        }))
    }

    /// Writes it, for this user alone.
    pub(super) fn write(&self, root: impl Fn(&str) -> std::path::PathBuf, create: bool) -> Result<(), Failure> {
        let json = serde_json::to_vec(self).map(Zeroizing::new);
        let json = json.map_err(|_| Failure::new(ExitCode::CannotWrite, "cannot write the handover", ""))?;
        let mut staged = Staged::open(&root(HANDOVER_DIR), create)?;
        staged.stage_from(name(), 0o600, &mut json.as_slice())?;
        staged.publish().map(drop)
    }
}

impl Delivered<'_> {
    /// The session.
    pub(super) fn session(self) -> Option<Session> {
        Session::resume(self.session, boot_time().saturating_sub(self.logged_in))
    }
}

/// Reads the handover, if there is one, and gives it to `take`. The one of a whole delivery is unlinked before: what takes it
/// is the only one who has the token.
pub(super) fn receive<T>(
    root: impl Fn(&str) -> std::path::PathBuf,
    take: impl FnOnce(Handover<'_>) -> T,
) -> Result<Option<T>, String> {
    let Some(json) = files::read(&root(HANDOVER_FILE), MAX_HANDOVER).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    // The parser's own words could quote the token.
    let handover = serde_json::from_slice(json.expose()).map_err(|_| "it does not parse".to_owned());
    if !matches!(handover, Ok(Handover::Failed)) {
        let removed = Staged::open(&root(HANDOVER_DIR), false).and_then(|staged| staged.remove(name()));
        removed.map_err(|failure| failure.message)?;
    }
    Ok(Some(take(handover?)))
}

fn name() -> &'static str {
    HANDOVER_FILE.rsplit('/').next().unwrap_or(HANDOVER_FILE)
}
