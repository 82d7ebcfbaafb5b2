//! Being told to stop: the two signals that say so, and the moment more that a login has which is under way.

use std::pin::Pin;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::report::{Code, Failure};
use crate::vault::{LOGIN_GRACE, Stop};

/// SIGINT and SIGTERM. Once they are handled, neither ends the process by itself.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// Which of them came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    Interrupt,
    Terminate,
}

impl Told {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The same for another process.
    pub(super) fn signal(self) -> rustix::process::Signal {
        match self {
            Self::Interrupt => rustix::process::Signal::INT,
            Self::Terminate => rustix::process::Signal::TERM,
        }
    }
}

impl Signals {
    /// Handles them from here on; one that comes while nobody waits is not lost.
    pub(super) fn handle() -> Result<Self, Failure> {
        let no = |_| Failure::new(Code::BadPlan, "signals cannot be handled here", "");
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(no)?,
            terminate: signal(SignalKind::terminate()).map_err(no)?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Interrupt,
            _ = self.terminate.recv() => Told::Terminate,
        }
    }
}

/// Stops the work, to be dropped after this. A login that is under way may be about to bring a client token that nobody else
/// could revoke: it has a moment to end, unless another signal comes.
pub(super) async fn stop<T>(work: Pin<&mut impl Future<Output = T>>, stop: &Stop, signals: &mut Signals) {
    stop.ask();
    if stop.in_login() {
        tokio::select! {
            _ = timeout(LOGIN_GRACE, work) => {}
            _ = signals.next() => {}
        }
    }
}
