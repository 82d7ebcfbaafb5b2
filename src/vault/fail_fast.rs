//! How the first failure for good ends the waiting of all other reads of a run.

use std::cell::Cell;

use tokio::sync::Notify;

use super::error::VaultError;
use crate::http::{RetryDecision, Tries};

/// Whether a read of the run has failed for good. From then on no read waits for another try.
#[derive(Default)]
pub(super) struct FailFast {
    failed: Cell<bool>,
    changed: Notify,
}

impl FailFast {
    pub(super) fn fail(&self) {
        self.failed.set(true);
        self.changed.notify_waiters();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    pub(super) async fn failed(&self) {
        if !self.failed.get() {
            self.changed.notified().await;
        }
    }

    /// Waits before the next try. The error is the end of the tries.
    pub(super) async fn pause(
        &self,
        tries: &mut Tries<VaultError>,
        decision: RetryDecision<VaultError>,
    ) -> Result<(), VaultError> {
        let error = match &decision {
            RetryDecision::GiveUp(error) | RetryDecision::Retry(_, _, error) => error.clone(),
        };
        tokio::select! {
            biased;
            () = self.failed() => Err(error),
            paused = tries.pause(decision) => paused,
        }
    }
}
