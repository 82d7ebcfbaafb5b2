//! What `init` hands to the sidecar instead of revoking it: the client token, how long the secrets are good, and the secrets
//! that templates combine. Only `init` and the sidecar can see the file; the sidecar unlinks the file as soon as it has read it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::validity::Validity;
use super::volume::{ContainerPaths, VolumeError, handover};
use crate::secret::Secret;
use crate::vault::{Session, SessionHandover};

/// How `init` ended, for the sidecar.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Handover<'a> {
    /// Everything was delivered.
    #[serde(borrow)]
    Delivered(Box<HandedSession<'a>>),
    /// Nothing was delivered, and the job will fail: the sidecar has nothing to keep fresh.
    Failed,
}

/// A session, and what was read with it. Times are those of [`boot_time`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HandedSession<'a> {
    #[serde(borrow)]
    session: SessionHandover<'a>,
    /// When the login was.
    pub logged_in: Duration,
    /// When the reads began.
    pub read: Duration,
    /// How long each answer is good, in the order of the plan.
    pub sources: Vec<Validity>,
    /// The answers that templates of several secrets use, by their positions in `sources`. Where one is left out, the sidecar
    /// reads it.
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    pub combined: BTreeMap<usize, HandedAnswer<'a>>,
}

/// The server's answer to a read.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum HandedAnswer<'a> {
    /// The body of the answer.
    Body(#[serde(borrow)] Cow<'a, str>),
    /// There is no such secret.
    Missing,
}

impl HandedAnswer<'_> {
    /// The body of the answer. None: there is no such secret.
    pub(super) fn body(&self) -> Option<Secret> {
        match self {
            Self::Body(body) => Some(Secret::from(body.as_bytes().to_vec())),
            Self::Missing => None,
        }
    }
}

/// The most bytes of answers in a handover. (In JSON a text takes at most twice its size, and the volume has 1 MiB.)
const MAX_COMBINED: usize = 384 * 1024;

/// The time since the machine started (`CLOCK_BOOTTIME`): all containers share this clock, nobody sets it, and it counts
/// the time in which the machine sleeps.
pub(super) fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

impl<'a> Handover<'a> {
    /// Everything was delivered, with this session. None: the client token is not text.
    pub(super) fn delivered(
        session: &'a Session,
        read: Duration,
        sources: Vec<Validity>,
        mut combined: BTreeMap<usize, HandedAnswer<'a>>,
    ) -> Option<Self> {
        let sizes = combined.values().map(|answer| match answer {
            HandedAnswer::Body(body) => body.len(),
            HandedAnswer::Missing => 0,
        });
        if sizes.sum::<usize>() > MAX_COMBINED {
            combined.clear();
        }
        Some(Self::Delivered(Box::new(HandedSession {
            session: session.hand_over()?,
            logged_in: boot_time().saturating_sub(session.age()),
            read,
            sources,
            combined,
        })))
    }

    /// Writes the file of the handover.
    pub(super) fn write(&self, paths: &ContainerPaths) -> Result<(), VolumeError> {
        let json = serde_json::to_vec(self).map(Zeroizing::new);
        let json = json.map_err(|_| VolumeError::new("cannot write the handover", ""))?;
        handover::write(paths, &json)
    }
}

impl HandedSession<'_> {
    /// The session to go on with. None: it makes no sense.
    pub(super) fn resume(self) -> Option<Session> {
        Session::resume(self.session, boot_time().saturating_sub(self.logged_in))
    }
}

/// Reads the handover and gives it to `take`. None: there is no handover. The file of a whole delivery is unlinked before,
/// so that nobody else can read the token.
pub(super) fn receive<T>(paths: &ContainerPaths, take: impl FnOnce(Handover<'_>) -> T) -> Result<Option<T>, String> {
    let Some(json) = handover::read(paths).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    // The parser's own message could quote the token.
    let handover = serde_json::from_slice(json.expose()).map_err(|_| "it does not parse".to_owned());
    if !matches!(handover, Ok(Handover::Failed)) {
        handover::remove(paths).map_err(|error| error.message)?;
    }
    Ok(Some(take(handover?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_a_handover_come_back_byte_for_byte() {
        let body = "{\n\t\"data\": {\"a\": \"\\u0041 \u{e4} \\\"x\\\"\"}}";
        let answers = BTreeMap::from([(0, HandedAnswer::Body(body.into())), (7, HandedAnswer::Missing)]);
        let json = serde_json::to_string(&answers).unwrap();
        let read: BTreeMap<usize, HandedAnswer<'_>> = serde_json::from_str(&json).unwrap();
        assert_eq!(read[&0].body().unwrap().expose(), body.as_bytes());
        assert!(read[&7].body().is_none());
    }
}
