//! One open connection: its phase, the time limit of the phase, and whether the connection can make room.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::webhook::limits::{ANSWER_TIMEOUT, REQUEST_TIMEOUT};
use crate::webhook::metrics::CutReason;

/// How long a connection may stay in a phase.
#[derive(Debug, Clone, Copy)]
pub(in crate::webhook) struct TimeLimits {
    /// From the connection's beginning to the end of the TLS handshake.
    handshake: Duration,
    /// From the connection's beginning to its first valid review. A request that has begun before the end of this time has its own
    /// time limit.
    proof: Duration,
    /// Between two requests, after the first valid review.
    idle: Duration,
}

/// An API server closes an idle connection after 90 s. podkey waits longer: an admission fails if podkey closes a
/// connection just as the API server writes a request.
pub(in crate::webhook) const WEBHOOK_TIMES: TimeLimits = TimeLimits {
    handshake: Duration::from_secs(5),
    proof: Duration::from_secs(10),
    idle: Duration::from_secs(120),
};
/// The kubelet and Prometheus open a new connection if podkey has closed the last connection.
pub(in crate::webhook) const ADMIN_TIMES: TimeLimits = TimeLimits {
    handshake: Duration::from_secs(5),
    proof: Duration::from_secs(10),
    idle: Duration::from_secs(10),
};
/// Extra time before a connection with an incomplete request is cut. If only the body is late, podkey answers after
/// [`REQUEST_TIMEOUT`] already; if the headers never end, there is no answer.
const REQUEST_SLACK: Duration = Duration::from_secs(1);

/// The phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The TLS handshake.
    ShakingHands,
    /// Between two requests.
    Idle,
    /// A request has begun and is not complete.
    Receiving,
    /// The request is complete, and podkey makes the decision.
    Deciding,
    /// podkey passes the answer to TLS.
    Answering,
    /// TLS has all bytes of the answer and sends them.
    Flushing,
}

/// Why a connection can make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spare {
    /// The connection is between two requests.
    Idle,
    /// The client neither sends the rest of a request nor reads the rest of an answer.
    Stalled,
}

/// A client that sends and reads nothing for this time is stalled.
pub(super) const STALLED: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct ConnectionState {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When the client last sent or read a byte.
    progress: Instant,
    /// The request waits for memory of the account, so the client cannot be blamed for the delay.
    waits_for_memory: bool,
    /// The client has sent a valid review.
    proven: bool,
}

/// While this value exists, the connection's request waits for memory.
pub(in crate::webhook) struct WaitsForMemory<'c>(&'c OpenConnection);

impl Drop for WaitsForMemory<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        (state.waits_for_memory, state.progress) = (false, Instant::now());
    }
}

/// Connections by number. An older connection has a smaller number.
pub(super) type Connections = BTreeMap<u64, Arc<OpenConnection>>;

/// An open connection: its phase, and the time limits.
#[derive(Debug)]
pub(in crate::webhook) struct OpenConnection {
    /// The client's address.
    pub(in crate::webhook) peer: IpAddr,
    opened: Instant,
    times: TimeLimits,
    state: Mutex<ConnectionState>,
    /// Bytes that the client has sent and read.
    moved: AtomicU64,
    cut: Notify,
    cut_reason: OnceLock<CutReason>,
}

impl OpenConnection {
    pub(in crate::webhook) fn new(peer: IpAddr, times: TimeLimits) -> Self {
        let now = Instant::now();
        Self {
            peer,
            opened: now,
            times,
            state: Mutex::new(ConnectionState {
                phase: Phase::ShakingHands,
                since: now,
                progress: now,
                waits_for_memory: false,
                proven: false,
            }),
            moved: AtomicU64::new(0),
            cut: Notify::new(),
            cut_reason: OnceLock::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        let now = Instant::now();
        let mut state = self.state();
        (state.phase, state.since, state.progress) = (phase, now, now);
    }

    /// The TLS handshake is over.
    pub(in crate::webhook) fn shook_hands(&self) {
        self.enter(Phase::Idle);
    }

    /// The client has sent bytes of a request.
    pub(in crate::webhook) fn received(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = Instant::now();
        let mut state = self.state();
        state.progress = now;
        if state.phase == Phase::Idle {
            (state.phase, state.since) = (Phase::Receiving, now);
        }
    }

    /// A request's headers are complete. Their bytes may have arrived together with the previous request.
    pub(in crate::webhook) fn request_began(&self) {
        if self.phase() != Phase::Receiving {
            self.enter(Phase::Receiving);
        }
    }

    /// A request is complete.
    pub(in crate::webhook) fn deciding(&self) {
        self.enter(Phase::Deciding);
    }

    /// The request was a valid review.
    pub(in crate::webhook) fn proved(&self) {
        self.state().proven = true;
    }

    /// The answer begins.
    pub(in crate::webhook) fn answering(&self) {
        self.enter(Phase::Answering);
    }

    /// The client has read bytes.
    pub(in crate::webhook) fn sent(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        self.state().progress = Instant::now();
    }

    /// TLS has the whole answer. The answer's time limit continues until TLS has sent all bytes.
    pub(in crate::webhook) fn handed_over(&self) {
        let mut state = self.state();
        if state.phase == Phase::Answering {
            state.phase = Phase::Flushing;
        }
    }

    /// TLS has sent all bytes.
    pub(in crate::webhook) fn flushed(&self) {
        if self.phase() == Phase::Flushing {
            self.enter(Phase::Idle);
        }
    }

    fn phase(&self) -> Phase {
        self.state().phase
    }

    /// The request waits for memory of the account, so the client waits for podkey.
    pub(in crate::webhook) fn waits_for_memory(&self) -> WaitsForMemory<'_> {
        self.state().waits_for_memory = true;
        WaitsForMemory(self)
    }

    /// The time of the client's last byte, if podkey waits for the client.
    pub(in crate::webhook) fn waits_for_client(&self) -> Option<Instant> {
        let state = self.state();
        let waits =
            !state.waits_for_memory && matches!(state.phase, Phase::Receiving | Phase::Answering | Phase::Flushing);
        waits.then_some(state.progress)
    }

    /// Whether podkey works on a complete request of this connection, or the client reads the answer.
    pub(super) fn is_being_answered(&self) -> bool {
        matches!(self.phase(), Phase::Deciding | Phase::Answering | Phase::Flushing) && self.spare().is_none()
    }

    /// Why this connection can make room, and since when. `None`: client or podkey works on a request.
    pub(super) fn spare(&self) -> Option<(Spare, Instant)> {
        let state = self.state();
        match state.phase {
            Phase::Idle => Some((Spare::Idle, state.since)),
            _ if state.waits_for_memory => None,
            Phase::Receiving | Phase::Answering | Phase::Flushing if state.progress.elapsed() >= STALLED => {
                Some((Spare::Stalled, state.progress))
            }
            Phase::ShakingHands | Phase::Receiving | Phase::Deciding | Phase::Answering | Phase::Flushing => None,
        }
    }

    /// Bytes that the client has sent and read.
    pub(in crate::webhook) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// How long the connection has been open.
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(in crate::webhook) fn is_proven(&self) -> bool {
        self.state().proven
    }

    /// When the current phase must end, and the reason for a cut at that time.
    pub(in crate::webhook) fn deadline(&self) -> (Instant, CutReason) {
        let state = self.state();
        let (deadline, reason) = match state.phase {
            Phase::ShakingHands => (self.opened + self.times.handshake, CutReason::Handshake),
            Phase::Idle if !state.proven => (self.opened + self.times.proof, CutReason::Unproven),
            Phase::Idle => (state.since + self.times.idle, CutReason::Idle),
            Phase::Receiving => (state.since + REQUEST_TIMEOUT + REQUEST_SLACK, CutReason::SlowRequest),
            // Decisions have their own timeout.
            Phase::Deciding => (state.since + 2 * REQUEST_TIMEOUT, CutReason::SlowRequest),
            Phase::Answering | Phase::Flushing => (state.since + ANSWER_TIMEOUT, CutReason::SlowAnswer),
        };
        // A client could send one request after the other without a valid review, so that the connection is never idle.
        let proof = self.opened + self.times.proof + 2 * REQUEST_TIMEOUT + ANSWER_TIMEOUT;
        if !state.proven && proof < deadline {
            return (proof, CutReason::Unproven);
        }
        (deadline, reason)
    }

    /// Makes the connection's task end the connection.
    pub(in crate::webhook) fn cut(&self, reason: CutReason) {
        let _ = self.cut_reason.set(reason);
        self.cut.notify_one();
    }

    /// Waits for [`Self::cut`].
    pub(in crate::webhook) async fn is_cut(&self) -> CutReason {
        self.cut.notified().await;
        self.cut_reason.get().copied().unwrap_or(CutReason::NoPlace)
    }

    #[cfg(test)]
    pub(super) fn has_been_cut(&self) -> bool {
        self.cut_reason.get().is_some()
    }
}
