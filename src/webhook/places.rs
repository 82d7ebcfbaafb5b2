//! The table of open connections: how far each has come, how long it may stay there, and who makes room for a newcomer.
//!
//! A connection proves itself with its first valid review. Until then it has seconds, and the oldest one of the peer address
//! that has most of them makes room. Three
//! quarters of the places are for those that have proven themselves; beyond that, the peer address with the most of them
//! gives up the one that is idle for the longest time, else the one whose client has stalled for the longest time. A
//! connection that works stays, but for one of a single address that holds more than three quarters of all places.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limits::{ANSWER_TIMEOUT, ENDING_CONNECTIONS, REQUEST_TIMEOUT};
use super::metrics::{Cut, CutReason};

/// How long a connection may take for what it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// From its beginning to TLS.
    pub(super) handshake: Duration,
    /// From its beginning to its first valid review. A request that has begun by then has its own time.
    pub(super) proof: Duration,
    /// Between two requests, once it has proven itself.
    pub(super) idle: Duration,
}

/// Idle connections of an API server: closing one just as the API server writes to it fails an admission. The API server
/// closes its own after 90 s, so ours must stay open longer.
pub(super) const TIMES: Times = Times {
    handshake: Duration::from_secs(5),
    proof: Duration::from_secs(10),
    idle: Duration::from_secs(120),
};
/// Neither the kubelet nor Prometheus minds a connection that is closed between two requests.
pub(super) const ADMIN_TIMES: Times = Times {
    handshake: Duration::from_secs(5),
    proof: Duration::from_secs(10),
    idle: Duration::from_secs(10),
};
/// Its own timeout answers a request whose body is late; this is for headers that never end.
const REQUEST_SLACK: Duration = Duration::from_secs(1);

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// TLS begins.
    ShakingHands,
    /// Between two requests.
    Idle,
    /// A request has begun and is not whole.
    Receiving,
    /// The request is ours to answer.
    Deciding,
    /// The answer is on its way to the client.
    Answering,
    /// The answer's last bytes are with TLS.
    Flushing,
}

/// Why a proven connection can make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spare {
    /// It is between two requests.
    Idle,
    /// Its client neither sends the rest of a request nor takes the rest of an answer.
    Stalled,
}

/// A connection that is younger has had no time for its first review.
const YOUNG: Duration = Duration::from_millis(500);

/// A client that works brings or takes something more often than that.
const STALLED: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Since when.
    since: Instant,
    /// When the client last sent or took something.
    progress: Instant,
    /// The request waits for memory of the account: the client can do nothing.
    waits_for_us: bool,
    proven: bool,
}

/// From here until this is dropped, a connection's request waits for memory.
pub(super) struct WaitsForUs<'c>(&'c Connection);

impl Drop for WaitsForUs<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        (state.waits_for_us, state.progress) = (false, Instant::now());
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Where it comes from.
    pub(super) peer: IpAddr,
    opened: Instant,
    times: Times,
    state: Mutex<State>,
    /// Bytes that it has brought and taken.
    moved: AtomicU64,
    cut: Notify,
    why: OnceLock<CutReason>,
}

impl Connection {
    fn new(peer: IpAddr, times: Times) -> Self {
        let now = Instant::now();
        Self {
            peer,
            opened: now,
            times,
            state: Mutex::new(State {
                phase: Phase::ShakingHands,
                since: now,
                progress: now,
                waits_for_us: false,
                proven: false,
            }),
            moved: AtomicU64::new(0),
            cut: Notify::new(),
            why: OnceLock::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        let now = Instant::now();
        let mut state = self.state();
        (state.phase, state.since, state.progress) = (phase, now, now);
    }

    /// TLS is there.
    pub(super) fn shook_hands(&self) {
        self.enter(Phase::Idle);
    }

    /// Bytes of a request came in.
    pub(super) fn received(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = Instant::now();
        let mut state = self.state();
        state.progress = now;
        if state.phase == Phase::Idle {
            (state.phase, state.since) = (Phase::Receiving, now);
        }
    }

    /// A request's headers are there. They may have come together with the request before.
    pub(super) fn request_began(&self) {
        if self.phase() != Phase::Receiving {
            self.enter(Phase::Receiving);
        }
    }

    /// A request is there.
    pub(super) fn deciding(&self) {
        self.enter(Phase::Deciding);
    }

    /// It was a valid review.
    pub(super) fn proved(&self) {
        self.state().proven = true;
    }

    /// The answer goes out.
    pub(super) fn answering(&self) {
        self.enter(Phase::Answering);
    }

    /// The client took bytes.
    pub(super) fn sent(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        self.state().progress = Instant::now();
    }

    /// All of the answer is with TLS: the time for it runs on until it is flushed.
    pub(super) fn handed_over(&self) {
        let mut state = self.state();
        if state.phase == Phase::Answering {
            state.phase = Phase::Flushing;
        }
    }

    /// Nothing waits to be written.
    pub(super) fn flushed(&self) {
        if self.phase() == Phase::Flushing {
            self.enter(Phase::Idle);
        }
    }

    fn phase(&self) -> Phase {
        self.state().phase
    }

    /// The request waits for memory of the account, and the client waits for podkey.
    pub(super) fn waits_for_us(&self) -> WaitsForUs<'_> {
        self.state().waits_for_us = true;
        WaitsForUs(self)
    }

    /// Whether it is the client that we wait for, and since when it has done nothing.
    pub(super) fn waits_for_client(&self) -> Option<Instant> {
        let state = self.state();
        let waits = !state.waits_for_us && matches!(state.phase, Phase::Receiving | Phase::Answering | Phase::Flushing);
        waits.then_some(state.progress)
    }

    /// Whether podkey works on a complete request of this connection, or its client reads the answer.
    fn is_being_answered(&self) -> bool {
        matches!(self.phase(), Phase::Deciding | Phase::Answering | Phase::Flushing) && self.spare().is_none()
    }

    /// Why this connection can make room. None: its client works.
    fn spare(&self) -> Option<(Spare, Instant)> {
        let state = self.state();
        match state.phase {
            Phase::Idle => Some((Spare::Idle, state.since)),
            _ if state.waits_for_us => None,
            Phase::Receiving | Phase::Answering | Phase::Flushing if state.progress.elapsed() >= STALLED => {
                Some((Spare::Stalled, state.progress))
            }
            Phase::ShakingHands | Phase::Receiving | Phase::Deciding | Phase::Answering | Phase::Flushing => None,
        }
    }

    /// Bytes that it has brought and taken.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(super) fn is_proven(&self) -> bool {
        self.state().proven
    }

    /// When it has to be further than it is, and what it is too late with then.
    pub(super) fn deadline(&self) -> (Instant, CutReason) {
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
        // One request after the other that is no review would keep it from ever being idle.
        let proof = self.opened + self.times.proof + 2 * REQUEST_TIMEOUT + ANSWER_TIMEOUT;
        if !state.proven && proof < deadline {
            return (proof, CutReason::Unproven);
        }
        (deadline, reason)
    }

    /// Ends it, soon.
    pub(super) fn cut(&self, why: CutReason) {
        let _ = self.why.set(why);
        self.cut.notify_one();
    }

    /// Waits for [`Self::cut`].
    pub(super) async fn is_cut(&self) -> CutReason {
        self.cut.notified().await;
        self.why.get().copied().unwrap_or(CutReason::NoPlace)
    }
}

/// A connection's place in the table, for as long as it is open.
pub(super) struct Place {
    pub(super) connection: Arc<Connection>,
    number: u64,
    table: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.open().remove(&self.number);
        self.table.count.dec();
    }
}

/// The table.
pub(super) struct Places {
    most: usize,
    times: Times,
    /// By the order they came in.
    open: Mutex<BTreeMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    /// Connections that have not given back what they hold: those in the table, and those that were cut.
    alive: Arc<Semaphore>,
    count: Gauge,
    cuts: Family<Cut, Counter>,
}

impl Places {
    pub(super) fn new(most: usize, times: Times, count: Gauge, cuts: Family<Cut, Counter>) -> Arc<Self> {
        Arc::new(Self {
            most,
            times,
            open: Mutex::default(),
            next: AtomicU64::new(0),
            alive: Arc::new(Semaphore::new(most + ENDING_CONNECTIONS)),
            count,
            cuts,
        })
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection that was cut.
    pub(super) fn count_cut(&self, reason: CutReason) {
        self.cuts.get_or_create(&Cut { reason }).inc();
    }

    /// Gives a newcomer a place, and takes it from another where there is none. None where all the others work.
    pub(super) async fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        if self.open().len() >= self.most && !self.make_room(Some(peer.to_canonical())) {
            self.count_cut(CutReason::Refused);
            return None;
        }
        // Closed it never is.
        let permit = self.alive.clone().acquire_owned().await.ok()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection::new(peer.to_canonical(), self.times));
        self.open().insert(number, connection.clone());
        self.count.inc();
        Some(Place {
            connection,
            number,
            table: self.clone(),
            _permit: permit,
        })
    }

    /// Cuts the connection that can be missed most, for a newcomer from an address or for a file of another kind.
    pub(super) fn make_room(&self, newcomer: Option<IpAddr>) -> bool {
        let mut open = self.open();
        let Some(victim) = choose(&open, self.most, newcomer) else {
            return false;
        };
        if let Some(victim) = open.remove(&victim) {
            victim.cut(CutReason::NoPlace);
        }
        true
    }

    /// Waits until all connections have ended, but no longer than so long; then cuts the rest.
    pub(super) async fn drain(&self, longest: Duration) {
        let all = u32::try_from(self.most + ENDING_CONNECTIONS).unwrap_or(u32::MAX);
        if tokio::time::timeout(longest, self.alive.acquire_many(all))
            .await
            .is_err()
        {
            let rest: Vec<_> = self.open().values().cloned().collect();
            for connection in rest {
                connection.cut(CutReason::Stopping);
            }
        }
    }
}

/// The number of the connection that makes room.
fn choose(open: &BTreeMap<u64, Arc<Connection>>, most: usize, newcomer: Option<IpAddr>) -> Option<u64> {
    let is_proven: HashMap<u64, bool> = open
        .iter()
        .map(|(number, connection)| (*number, connection.is_proven()))
        .collect();
    let counts = |proven: bool| {
        let mut counts = HashMap::<IpAddr, usize>::new();
        for (_, connection) in open.iter().filter(|(number, _)| is_proven[number] == proven) {
            *counts.entry(connection.peer).or_default() += 1;
        }
        counts
    };
    // The numbers are in the order of age: the first of those with the largest count is the oldest.
    let unproven = |age: Duration| {
        let counts = counts(false);
        let largest = counts.values().max()?;
        let of_largest = || {
            open.iter()
                .filter(|(number, connection)| !is_proven[number] && counts[&connection.peer] == *largest)
                .filter(|(_, connection)| connection.opened.elapsed() >= age)
        };
        // A connection whose request is complete comes last.
        of_largest()
            .find(|(_, connection)| !connection.is_being_answered())
            .or_else(|| of_largest().next())
            .map(|(number, _)| *number)
    };
    let proven = |most: Spare| {
        let counts = counts(true);
        let largest = counts.values().max()?;
        let of_largest = open
            .iter()
            .filter(|(number, connection)| is_proven[number] && counts[&connection.peer] == *largest);
        of_largest
            .filter_map(|(number, connection)| Some((connection.spare()?, *number)))
            .filter(|((spare, _), _)| *spare >= most)
            .min()
            .map(|(_, number)| number)
    };
    // An address that holds nearly all places keeps nobody else out, though all of its connections work.
    let of_a_hog = || {
        let (hog, held) = counts(true).into_iter().max_by_key(|(_, held)| *held)?;
        let mut oldest = open
            .iter()
            .filter(|(number, connection)| is_proven[number] && connection.peer == hog);
        (held > most * 3 / 4 && newcomer != Some(hog)).then(|| oldest.next().map(|(number, _)| *number))?
    };
    if is_proven.values().filter(|is_proven| **is_proven).count() > most * 3 / 4 {
        proven(Spare::Idle)
            .or_else(|| unproven(Duration::ZERO))
            .or_else(of_a_hog)
    } else {
        // A young connection had no time for its first review: proven clients that do not read their answers go first.
        unproven(YOUNG)
            .or_else(|| proven(Spare::Stalled))
            .or_else(|| unproven(Duration::ZERO))
            .or_else(|| proven(Spare::Idle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(most: usize) -> Arc<Places> {
        Places::new(most, TIMES, Gauge::default(), Family::default())
    }

    /// Enters one from 127.0.0.x.
    async fn enter(places: &Arc<Places>, peer: u8, is_proven: bool) -> Place {
        let place = places.enter([127, 0, 0, peer].into()).await.unwrap();
        place.connection.shook_hands();
        if is_proven {
            place.connection.proved();
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        place
    }

    fn is_cut(place: &Place) -> bool {
        place.connection.why.get().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_unproven_one_of_the_peer_with_most_of_them_makes_room() {
        let places = places(4);
        let mine = enter(&places, 1, false).await;
        let proven = enter(&places, 2, true).await;
        let (old, new) = (enter(&places, 2, false).await, enter(&places, 2, false).await);
        let newest = enter(&places, 2, false).await;
        assert!(is_cut(&old) && !is_cut(&mine) && !is_cut(&proven) && !is_cut(&new));
        drop((newest, new));
        // Two places are free again.
        let _more = (enter(&places, 3, false).await, enter(&places, 3, false).await);
        assert!(!is_cut(&mine));
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_three_quarters_the_longest_idle_one_of_the_largest_peer_makes_room() {
        let places = places(8);
        let mine = enter(&places, 1, true).await;
        let working = enter(&places, 2, true).await;
        working.connection.request_began();
        let mut idle = Vec::new();
        for _ in 0..5 {
            idle.push(enter(&places, 2, true).await);
        }
        let newcomer = enter(&places, 3, false).await;
        let _another = enter(&places, 2, false).await;
        assert!(is_cut(&idle[0]) && !is_cut(&idle[1]));
        assert!(!is_cut(&mine) && !is_cut(&working) && !is_cut(&newcomer));
    }

    #[tokio::test(start_paused = true)]
    async fn unproven_clients_that_took_no_answers_locked_newcomers_out() {
        let places = places(2);
        let (first, second) = (enter(&places, 1, false).await, enter(&places, 1, false).await);
        for place in [&first, &second] {
            place.connection.request_began();
            place.connection.answering();
        }
        assert!(places.enter([127, 0, 0, 2].into()).await.is_some());
        assert!(is_cut(&first) && !is_cut(&second));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_had_just_come_made_room_for_clients_that_took_no_answers() {
        let places = places(4);
        let (stuck, mine) = (enter(&places, 1, true).await, enter(&places, 2, false).await);
        stuck.connection.request_began();
        stuck.connection.answering();
        let _others = (enter(&places, 3, true).await, enter(&places, 4, true).await);
        tokio::time::advance(STALLED).await;
        assert!(places.enter([127, 0, 0, 5].into()).await.is_some());
        assert!(is_cut(&stuck) && !is_cut(&mine));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_took_no_answers_locked_newcomers_out() {
        let places = places(2);
        let (stuck, works) = (enter(&places, 1, true).await, enter(&places, 1, true).await);
        for place in [&stuck, &works] {
            place.connection.request_began();
            place.connection.answering();
        }
        let waits = works.connection.waits_for_us();
        tokio::time::advance(STALLED).await;
        assert!(places.enter([127, 0, 0, 2].into()).await.is_some());
        assert!(is_cut(&stuck) && !is_cut(&works), "one waits for memory of ours");
        drop(waits);
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_whose_connections_all_worked_kept_everybody_else_out() {
        let places = places(4);
        let mut working = Vec::new();
        for _ in 0..4 {
            let place = enter(&places, 1, true).await;
            place.connection.deciding();
            working.push(place);
        }
        assert!(places.enter([127, 0, 0, 1].into()).await.is_none(), "its own newcomer");
        assert!(places.enter([127, 0, 0, 2].into()).await.is_some());
        assert!(is_cut(&working[0]) && !is_cut(&working[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_work_a_newcomer_is_refused_and_nobody_is_cut() {
        let places = places(2);
        let working = [enter(&places, 1, true).await, enter(&places, 2, true).await];
        for place in &working {
            place.connection.request_began();
        }
        assert!(places.enter([127, 0, 0, 3].into()).await.is_none());
        assert!(!working.iter().any(is_cut));
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_of_a_connection_has_its_time() {
        let places = places(1);
        let place = places.enter([127, 0, 0, 1].into()).await.unwrap();
        let connection = &place.connection;
        let start = Instant::now();
        let seconds = || (connection.deadline().0 - start).as_secs();
        assert_eq!((seconds(), connection.deadline().1), (5, CutReason::Handshake));
        connection.shook_hands();
        assert_eq!((seconds(), connection.deadline().1), (10, CutReason::Unproven));
        tokio::time::advance(Duration::from_secs(9)).await;
        connection.received(1);
        tokio::time::advance(Duration::from_secs(1)).await;
        connection.received(1);
        connection.request_began();
        assert_eq!((seconds(), connection.deadline().1), (9 + 6, CutReason::SlowRequest));
        connection.deciding();
        connection.proved();
        connection.answering();
        connection.flushed();
        connection.sent(1);
        assert_eq!((seconds(), connection.deadline().1), (10 + 5, CutReason::SlowAnswer));
        connection.handed_over();
        connection.flushed();
        assert_eq!((seconds(), connection.deadline().1), (10 + 120, CutReason::Idle));
    }
}
