//! The two signals that stop the agent, and the grace for a login that is under way.

use std::pin::Pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::report::{Failure, SetupFault};
use crate::vault::{Cancellation, LOGIN_GRACE};

/// SIGINT and SIGTERM. From the first [`Signals::handle`] on, neither ends the process by itself.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// The signal that came.
#[derive(Debug, Clone, Copy)]
pub(super) enum StopSignal {
    Interrupt,
    Terminate,
}

impl StopSignal {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// To pass the signal on to another process.
    pub(super) fn kernel_signal(self) -> rustix::process::Signal {
        match self {
            Self::Interrupt => rustix::process::Signal::INT,
            Self::Terminate => rustix::process::Signal::TERM,
        }
    }
}

impl Signals {
    /// Handles the signals. A signal that comes while nobody waits is not lost.
    pub(super) fn handle() -> Result<Self, Failure> {
        let refused = |_| SetupFault::Signals;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
    }

    /// A signal that has come already.
    pub(super) async fn pending(&mut self) -> Option<StopSignal> {
        // Signals come through a pipe, which the event loop reads when a task yields.
        yield_now().await;
        timeout(Duration::ZERO, self.next()).await.ok()
    }
}

/// Stops the work, which the caller drops after this. A login that is under way may be about to receive a client token that
/// nobody else could revoke: the login has [`LOGIN_GRACE`] to end, unless another signal comes.
pub(super) async fn stop<T>(work: Pin<&mut impl Future<Output = T>>, stop: &Cancellation, signals: &mut Signals) {
    stop.request();
    if stop.login_in_flight() {
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
    async fn a_signal_that_comes_while_nobody_waits_is_not_lost() {
        let mut signals = Signals::handle().unwrap();
        assert!(signals.pending().await.is_none());
        kill_process(getpid(), StopSignal::Interrupt.kernel_signal()).unwrap();
        // The kernel gives the signal to a thread of this process when that thread runs.
        let signal = timeout(Duration::from_secs(30), async {
            loop {
                if let Some(signal) = signals.pending().await {
                    return signal;
                }
            }
        });
        assert!(matches!(signal.await, Ok(StopSignal::Interrupt)));
    }
}
