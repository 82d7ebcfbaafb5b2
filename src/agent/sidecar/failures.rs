//! What fails now, and one log line about it once a minute.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::agent::handover::boot_time;
use crate::plan::sidecar_log::{ANSWERS_AGAIN, TRIED_AGAIN};
use crate::schedule::{self, SecretIndex};
use crate::telemetry::LogThrottle;
use crate::vault::{VaultError, VaultErrorKind};

/// The least time between two warnings, and between two tries to write files that could not be written.
pub(super) const QUIET: Duration = Duration::from_secs(60);

/// The failures of a sidecar.
pub(super) struct FailureLog {
    /// Counts the [`boot_time`].
    throttle: LogThrottle<Duration>,
    /// What failed and has not succeeded since: a source, or the token (none), and why.
    failing: BTreeMap<Option<SecretIndex>, String>,
}

impl FailureLog {
    pub(super) fn new() -> Self {
        Self {
            throttle: LogThrottle::new(QUIET),
            failing: BTreeMap::new(),
        }
    }

    /// Converts a result about a source, or about the token (none), for the schedule. A failure is logged.
    pub(super) fn note<T>(
        &mut self,
        subject: Option<SecretIndex>,
        what: &str,
        result: Result<T, VaultError>,
    ) -> Result<T, schedule::WorkFailure> {
        let error = match result {
            Ok(done) => {
                if self.failing.remove(&subject).is_some() && self.failing.is_empty() {
                    tracing::info!("{ANSWERS_AGAIN}");
                }
                return Ok(done);
            }
            Err(error) => error,
        };
        let failure = for_schedule(&error);
        if failure == schedule::WorkFailure::Gone {
            self.failing.remove(&subject);
        } else {
            self.failing.insert(subject, error.message.clone());
            self.warn(what, &error.message, &error.hint);
        }
        Err(failure)
    }

    /// Records that the token cannot be used.
    pub(super) fn token_failed(&mut self, what: &str, reason: &str, hint: &str) {
        self.failing.insert(None, reason.to_owned());
        self.warn(what, reason, hint);
    }

    /// One of the failures, if anything fails now.
    pub(super) fn any(&self) -> Option<&String> {
        self.failing.values().next()
    }

    /// Why there is no usable token.
    pub(super) fn of_token(&self) -> Option<&String> {
        self.failing.get(&None)
    }

    /// Logs one warning about all failures of a minute, and every other failure as a debug line.
    pub(super) fn warn(&mut self, what: &str, reason: &str, hint: &str) {
        if self.throttle.allows(boot_time()) {
            tracing::warn!(reason, hint, "{what}: {TRIED_AGAIN}");
        } else {
            tracing::debug!(reason, hint, "{what}");
        }
    }
}

fn for_schedule(error: &VaultError) -> schedule::WorkFailure {
    match error.kind {
        // A server that says when to come again is there, but does not answer before.
        VaultErrorKind::Unavailable if error.retry_after.is_some() => {
            schedule::WorkFailure::Throttled(error.retry_after)
        }
        VaultErrorKind::Unavailable | VaultErrorKind::Trust => schedule::WorkFailure::Unavailable,
        VaultErrorKind::RateLimited => schedule::WorkFailure::Throttled(error.retry_after),
        VaultErrorKind::Denied => schedule::WorkFailure::Denied,
        VaultErrorKind::NotFound => schedule::WorkFailure::Gone,
        VaultErrorKind::Failing
        | VaultErrorKind::NoEngine
        | VaultErrorKind::NotVault
        | VaultErrorKind::NotReadable
        | VaultErrorKind::Refused
        | VaultErrorKind::Setup => schedule::WorkFailure::Failed,
    }
}
