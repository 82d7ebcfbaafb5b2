//! Being told to stop: the two signals that say so, and the moment more that a login has which is under way.

use std::pin::Pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::report::{Failure, SetupFault};
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
        let no = |_| Failure::from(SetupFault::Signals);
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

    /// The signal that has come already, if any.
    pub(super) async fn pending(&mut self) -> Option<Told> {
        // Signals come through a pipe, which the runtime reads when a task yields.
        yield_now().await;
        timeout(Duration::ZERO, self.next()).await.ok()
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

#[cfg(test)]
mod tests {
    use rustix::process::{getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_that_came_while_nobody_waited_is_seen() {
        let mut signals = Signals::handle().unwrap();
        assert!(signals.pending().await.is_none());
        kill_process(getpid(), Told::Interrupt.signal()).unwrap();
        assert!(matches!(signals.pending().await, Some(Told::Interrupt)));
    }
}
