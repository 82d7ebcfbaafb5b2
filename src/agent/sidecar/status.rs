//! Writes `.status.json` when the state of a file changed, and logs the change.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::state::{Sidecar, TrackedFile};
use crate::agent::handover::boot_time;
use crate::agent::volume::{FileState, FileStatus, StatusFile};
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
        let wanted = file.origin.wanted(&self.order);
        let index = self.secrets.iter().position(|secret| wanted.contains(&secret.wanted))?;
        let (source, secret) = (SecretIndex(index), self.secrets.get(index)?);
        let scheduled = match self.schedule.freshness(source, now) {
            SecretFreshness::Fresh => FileState::Fresh,
            SecretFreshness::Stale => FileState::Stale,
            SecretFreshness::Denied => FileState::Denied,
            SecretFreshness::Gone => FileState::Gone,
            SecretFreshness::Expired => FileState::Expired,
        };
        let unwritten = match self.shown.changes(name) {
            true => FileState::Unwritten,
            false => FileState::Fresh,
        };
        let state = file.state.max(scheduled).max(unwritten);
        let reason = file
            .reason
            .as_ref()
            .or(secret.reason.as_ref())
            // Without a token nothing can be read.
            .or_else(|| self.failures.of_token());
        let next_try = self.schedule.next_try(source);
        let mut status = FileStatus {
            version: file.version,
            reason: reason.filter(|_| state != FileState::Fresh).cloned(),
            last_success: secret.last_success,
            next_try: next_try.and_then(|at| clock.checked_add(at.saturating_sub(now))),
            ..FileStatus::new(&file.secret, state)
        };
        secret
            .validity
            .write_to(&mut status, self.schedule.lease_duration(source));
        Some(status)
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
        (FileState::Fresh, _) => tracing::info!(file = name, secret, "the file is fresh again"),
        (state, _) => tracing::warn!(file = name, secret, reason, ?state, "the file is not fresh"),
    }
}
