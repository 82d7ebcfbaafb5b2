//! What `init` hands to the sidecar instead of revoking it: the client token, and how long the secrets are good. Only `init`
//! and the sidecar can see the file; the sidecar unlinks the file as soon as it has read it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{ContainerPaths, file, split};
use crate::agent::report::Failure;
use crate::plan::{ExitCode, HANDOVER_DIR, HANDOVER_FILE};
use crate::schedule::Lifetime;
use crate::secret::Lease;
use crate::vault::{Handed, Session, Wanted};

/// The longest file, in bytes.
const MAX_HANDOVER: usize = 1024 * 1024;

/// How `init` ended, for the sidecar.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) enum Handover<'a> {
    /// Everything was delivered.
    #[serde(borrow)]
    Delivered(HandedSession<'a>),
    /// Nothing was delivered, and the job will fail: the sidecar has nothing to keep fresh.
    Failed,
}

/// A session, and what was read with it. Times are those of [`boot_time`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) struct HandedSession<'a> {
    #[serde(borrow)]
    session: Handed<'a>,
    /// When the login was.
    pub logged_in: Duration,
    /// When the reads began.
    pub read: Duration,
    /// How long each answer is good, in the order of the plan.
    pub sources: Vec<Validity>,
}

/// How long an answer of the server is good.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::agent) enum Validity {
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
    pub(in crate::agent) fn missing(wanted: &Wanted) -> Self {
        match wanted.may_mint() {
            true => Self::Unknown,
            false => Self::Static,
        }
    }

    /// Of the answer to `wanted`.
    pub(in crate::agent) fn new(wanted: &Wanted, lease: Option<&Lease>) -> Self {
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
    pub(in crate::agent) fn lifetime(&self) -> Lifetime {
        match *self {
            Self::Static => Lifetime::Static,
            Self::Lease { ttl, renewable, .. } => Lifetime::Lease { ttl, renewable },
            Self::Ends { ttl } => Lifetime::Ends { ttl },
            Self::Unknown => Lifetime::Unknown,
        }
    }
}

/// Rounded up: the server counts whole seconds, so a moment after it granted 60 s, less than 60 s are left.
pub(in crate::agent) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The time since the machine started (`CLOCK_BOOTTIME`): all containers share this clock, nobody sets it, and it counts
/// the time in which the machine sleeps.
pub(in crate::agent) fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

impl<'a> Handover<'a> {
    /// Everything was delivered, with this session. None: the client token is not text.
    pub(in crate::agent) fn delivered(session: &'a Session, read: Duration, sources: Vec<Validity>) -> Option<Self> {
        Some(Self::Delivered(HandedSession {
            session: session.handed()?,
            logged_in: boot_time().saturating_sub(session.age()),
            read,
            sources,
        }))
    }

    /// Writes the file, readable for this user alone.
    pub(in crate::agent) fn write(&self, paths: &ContainerPaths) -> Result<(), Failure> {
        let json = serde_json::to_vec(self).map(Zeroizing::new);
        let json = json.map_err(|_| Failure::new(ExitCode::CannotWrite, "cannot write the handover", ""))?;
        let mut staged = paths.open(HANDOVER_DIR)?;
        staged.stage_from(name(), 0o600, &mut json.as_slice())?;
        staged.publish().map(drop)
    }
}

impl HandedSession<'_> {
    /// The session to go on with. None: it makes no sense.
    pub(in crate::agent) fn resume(self) -> Option<Session> {
        Session::resume(self.session, boot_time().saturating_sub(self.logged_in))
    }
}

/// Reads the handover and gives it to `take`. None: there is no handover. The file of a whole delivery is unlinked before,
/// so that nobody else can read the token.
pub(in crate::agent) fn receive<T>(
    paths: &ContainerPaths,
    take: impl FnOnce(Handover<'_>) -> T,
) -> Result<Option<T>, String> {
    let read = file::read(&paths.at(HANDOVER_FILE), MAX_HANDOVER);
    let Some(json) = read.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    // The parser's own message could quote the token.
    let handover = serde_json::from_slice(json.expose()).map_err(|_| "it does not parse".to_owned());
    if !matches!(handover, Ok(Handover::Failed)) {
        let removed = paths.open(HANDOVER_DIR).and_then(|staged| staged.remove(name()));
        removed.map_err(|failure| failure.message)?;
    }
    Ok(Some(take(handover?)))
}

fn name() -> &'static str {
    split(HANDOVER_FILE).1
}
