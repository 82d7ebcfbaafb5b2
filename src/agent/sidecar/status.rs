//! Writes `.status.json` when the state of a file changed, and logs the change.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::state::{FileOrigin, Sidecar, TrackedFile};
use crate::agent::handover::boot_time;
use crate::agent::validity::{AnsweredSecret, write_earliest};
use crate::agent::volume::{FileState, FileStatus, StatusFile, printed};
use crate::plan::sidecar_log::{FRESH_AGAIN, NOT_FRESH};
use crate::schedule::{SecretFreshness, SecretIndex};

impl Sidecar<'_> {
    /// Writes the status, if it changed, and logs every file with a new state.
    pub(super) fn write_status(&mut self) {
        let (now, clock) = (boot_time(), SystemTime::now());
        let mut all = BTreeMap::new();
        for (name, file) in &self.files {
            let Some(status) = self.status(name, file, now, clock) else {
                continue;
            };
            let before = self
                .written_status
                .get(name)
                .map_or(FileState::Fresh, |before| before.state);
            if before != status.state {
                log_state(name, &status, before);
            }
            all.insert(name.clone(), status);
        }
        if all == self.written_status {
            return;
        }
        match self.shown.write_status(&StatusFile::new(all.clone())) {
            Ok(()) => self.written_status = all,
            Err(failure) => {
                let what = "the status could not be written";
                self.failures.warn(what, &failure.message, &failure.hint);
            }
        }
    }

    /// The status of a file. None: no secret of the plan makes this file.
    fn status(&self, name: &str, file: &TrackedFile, now: Duration, clock: SystemTime) -> Option<FileStatus> {
        if printed::number(name).is_some() {
            return None;
        }
        let sources = self.sources_of(file.origin);
        if sources.is_empty()
            && file
                .origin
                .file(&self.order)
                .is_none_or(|order| !order.wanted.is_empty())
        {
            return None;
        }
        let scheduled = sources.iter().map(|source| self.scheduled(*source, file.origin, now));
        let unwritten = match self.shown.changes(name) {
            true => FileState::Unwritten,
            false => FileState::Fresh,
        };
        let state = scheduled.fold(file.state.max(unwritten), FileState::max);
        let reason = file
            .reason
            .as_ref()
            .or_else(|| sources.iter().find_map(|source| self.secret(*source)?.reason.as_ref()))
            // Without a token nothing can be read.
            .or_else(|| self.failures.of_token());
        let next_try = sources
            .iter()
            .filter_map(|source| self.schedule.next_try(*source))
            .min();
        let mut status = FileStatus {
            version: file.version,
            reason: reason.filter(|_| state != FileState::Fresh).cloned(),
            next_try: next_try.and_then(|at| clock.checked_add(at.saturating_sub(now))),
            ..FileStatus::new(&file.secret, state)
        };
        let secrets = sources.iter().filter_map(|source| {
            let secret = self.secret(*source)?;
            Some(AnsweredSecret {
                validity: &secret.validity,
                last_success: secret.last_success,
                token: self.schedule.lease_duration(*source),
            })
        });
        write_earliest(&mut status, secrets);
        Some(status)
    }

    /// What the schedule says about the secret of a file.
    fn scheduled(&self, source: SecretIndex, origin: FileOrigin, now: Duration) -> FileState {
        match self.schedule.freshness(source, now) {
            SecretFreshness::Gone if origin.does_without(&self.order) => FileState::Fresh,
            SecretFreshness::Fresh => FileState::Fresh,
            SecretFreshness::Stale => FileState::Stale,
            SecretFreshness::Denied => FileState::Denied,
            SecretFreshness::Gone => FileState::Gone,
            SecretFreshness::Expired => FileState::Expired,
        }
    }
}

/// Logs the new state of a file. A late or unwritten file is a debug line only: [`super::failures`] has logged a warning.
fn log_state(name: &str, status: &FileStatus, before: FileState) {
    let FileStatus { secret, reason, .. } = status;
    let reason = reason.as_deref();
    match (status.state, before) {
        (FileState::Fresh, FileState::Stale) | (FileState::Stale | FileState::Unwritten, _) => {
            tracing::debug!(file = name, secret, reason, state = ?status.state, "state");
        }
        (FileState::Fresh, _) => tracing::info!(file = name, secret, "{FRESH_AGAIN}"),
        (state, _) => tracing::warn!(file = name, secret, reason, ?state, "{NOT_FRESH}"),
    }
}
