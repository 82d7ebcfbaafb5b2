//! The end of the checks before their time: the time limit, or the user's Ctrl-C. A token of the doctor's is still revoked then.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::cli::doctor::finding::Findings;

/// When the checks end.
pub(super) struct Stop {
    at: Instant,
    /// Whether the user has interrupted the checks.
    interrupted: watch::Receiver<bool>,
}

impl Stop {
    /// `catches`: whether a signal ends the checks, and not the program. Where the doctor has no token, a signal ends the program.
    pub(super) fn new(limit: Duration, catches: bool) -> Self {
        let (sender, interrupted) = watch::channel(false);
        if catches {
            tokio::spawn(async move {
                signal().await;
                let _ = sender.send(true);
            });
        }
        Self {
            at: Instant::now() + limit,
            interrupted,
        }
    }

    /// The output of the checks. None: they were ended.
    pub(super) async fn or<F: Future>(&self, checks: F) -> Option<F::Output> {
        if self.is_now() {
            return None;
        }
        let mut interrupted = self.interrupted.clone();
        let interruption = async {
            if interrupted.wait_for(|interrupted| *interrupted).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            output = checks => Some(output),
            () = interruption => None,
            () = sleep_until(self.at) => None,
        }
    }

    fn is_now(&self) -> bool {
        *self.interrupted.borrow() || Instant::now() >= self.at
    }

    /// Says that checks are missing. Gives whether the user interrupted them.
    pub(super) fn tell(&self, findings: &mut Findings) -> bool {
        let interrupted = *self.interrupted.borrow();
        if self.is_now() {
            let why = if interrupted {
                "were interrupted"
            } else {
                "took too long"
            };
            findings.unseen(
                "vault",
                format!("the checks of Vault {why}, and the last were not made"),
                None,
            );
        }
        interrupted
    }
}

/// Waits for Ctrl-C, or for SIGTERM where that exists. Never ends where signals cannot be caught.
async fn signal() {
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = ctrl_c => {}
        () = terminated => {}
    }
}
