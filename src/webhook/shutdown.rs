//! The signals that end the server.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code by which a shell shows that SIGTERM has ended a program: 128 + 15.
const EXIT_SIGTERM: i32 = 143;

/// SIGTERM and SIGINT.
pub(super) struct StopSignals {
    term: Signal,
    int: Signal,
}

impl StopSignals {
    /// Handles the two signals from now on. The process may be PID 1, for which the kernel has no default action.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    async fn signal(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// Returns at the first signal. A second signal then ends the process.
    pub(super) async fn wait(mut self) {
        self.signal().await;
        tokio::spawn(async move {
            self.signal().await;
            tracing::warn!("second signal: podkey stops at once");
            std::process::exit(EXIT_SIGTERM);
        });
    }
}
