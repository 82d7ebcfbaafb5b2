//! The signals that end the server.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
pub(super) struct Stop {
    term: Signal,
    int: Signal,
}

impl Stop {
    /// As the process may be PID 1, for which the kernel has no default action, this comes before anything is served.
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

    /// Returns at the first signal. The second ends the process.
    pub(super) async fn wait(mut self) {
        self.signal().await;
        tokio::spawn(async move {
            self.signal().await;
            tracing::warn!("second signal: stopping at once");
            std::process::exit(143);
        });
    }
}
