//! The account: bytes are taken from it before they are allocated, and go back when they are freed. It has parts, so that
//! who waits for one keeps nobody out of another; the table in [`super::limits`] has their sizes.
//!
//! Who finds a part empty waits. Those whose peer holds least come first, then those that want least. Meanwhile, clients
//! that hold bytes and do nothing with them are cut.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::limits::{ANSWERS_BYTES, LARGE_BODIES_BYTES, SMALL_BODIES_BYTES};
use super::metrics::{AccountPart, CutReason, Part};
use super::places::Connection;

/// All parts of the account.
pub(super) struct Account {
    pub(super) small_bodies: Arc<Pool>,
    pub(super) large_bodies: Arc<Pool>,
    pub(super) answers: Arc<Pool>,
}

impl Account {
    pub(super) fn new(held: &Family<AccountPart, Gauge>) -> Self {
        let pool = |total, part| {
            let held = held.get_or_create(&AccountPart { part }).clone();
            Arc::new(Pool::new(total, held))
        };
        Self {
            small_bodies: pool(SMALL_BODIES_BYTES, Part::SmallBodies),
            large_bodies: pool(LARGE_BODIES_BYTES, Part::LargeBodies),
            answers: pool(ANSWERS_BYTES, Part::Answers),
        }
    }
}

/// While somebody waits: a client that has bytes and is quiet for so long is cut.
const QUIET: Duration = Duration::from_millis(500);
/// While somebody waits: a client that has bytes for longer than this has to be faster than [`SLOWEST`]. Where it belongs
/// to the peer that holds most, and a client of another peer waits, it is cut however fast it is.
const TRIAL: Duration = Duration::from_secs(1);
/// Bytes each second.
const SLOWEST: u64 = 256 * 1024;
/// How often somebody who waits looks for clients to be cut.
const LOOK: Duration = Duration::from_millis(100);

/// One part of the account.
pub(super) struct Pool {
    total: usize,
    /// For the metrics.
    held: Gauge,
    state: Mutex<State>,
}

struct State {
    free: usize,
    next: u64,
    holding: BTreeMap<u64, Holding>,
    waiting: Vec<Waiting>,
}

struct Holding {
    bytes: usize,
    connection: Arc<Connection>,
    since: Instant,
    /// What the connection had moved by then.
    moved: u64,
}

struct Waiting {
    number: u64,
    bytes: usize,
    connection: Arc<Connection>,
    granted: oneshot::Sender<()>,
}

/// Bytes of the account, or a place in the queue for them. Dropped, it gives both back.
pub(super) struct Hold {
    pool: Arc<Pool>,
    number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        match state.holding.remove(&self.number) {
            Some(holding) => {
                state.free += holding.bytes;
                self.pool.held.dec_by(holding.bytes as i64);
            }
            None => state.waiting.retain(|waiting| waiting.number != self.number),
        }
        self.pool.grant(&mut state);
    }
}

impl Pool {
    fn new(total: usize, held: Gauge) -> Self {
        let state = State {
            free: total,
            next: 0,
            holding: BTreeMap::new(),
            waiting: Vec::new(),
        };
        Self {
            total,
            held,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes, if they are there and nobody waits for them.
    pub(super) fn try_take(self: &Arc<Self>, connection: &Arc<Connection>, bytes: usize) -> Option<Hold> {
        let mut state = self.state();
        if bytes > state.free || !state.waiting.is_empty() {
            return None;
        }
        let number = state.number();
        self.hold(&mut state, number, bytes, connection.clone());
        Some(Hold {
            pool: self.clone(),
            number,
        })
    }

    /// Takes bytes, and waits for them. None: there will never be so many.
    pub(super) async fn take(self: &Arc<Self>, connection: &Arc<Connection>, bytes: usize) -> Option<Hold> {
        if bytes > self.total {
            return None;
        }
        if let Some(hold) = self.try_take(connection, bytes) {
            return Some(hold);
        }
        let _waits = connection.waits_for_us();
        let (granted, mut grant) = oneshot::channel();
        let hold = {
            let mut state = self.state();
            let number = state.number();
            let connection = connection.clone();
            state.waiting.push(Waiting {
                number,
                bytes,
                connection,
                granted,
            });
            self.grant(&mut state);
            Hold {
                pool: self.clone(),
                number,
            }
        };
        loop {
            tokio::select! {
                biased;
                _ = &mut grant => return Some(hold),
                () = sleep(LOOK) => self.cut_one(connection.peer),
            }
        }
    }

    fn hold(&self, state: &mut State, number: u64, bytes: usize, connection: Arc<Connection>) {
        state.free -= bytes;
        self.held.inc_by(bytes as i64);
        let moved = connection.moved();
        let since = Instant::now();
        state.holding.insert(
            number,
            Holding {
                bytes,
                connection,
                since,
                moved,
            },
        );
    }

    /// Gives out what is free, as long as the next one in turn finds enough.
    fn grant(&self, state: &mut State) {
        while let Some(first) = state.first() {
            if state.waiting[first].bytes > state.free {
                return;
            }
            let waiting = state.waiting.swap_remove(first);
            self.hold(state, waiting.number, waiting.bytes, waiting.connection);
            // Whoever does not wait any more drops the hold.
            let _ = waiting.granted.send(());
        }
    }

    /// Cuts one client that holds bytes and does too little with them, for one of this peer's that waits.
    fn cut_one(&self, waiting: IpAddr) {
        let state = self.state();
        let by_peer = state.by_peer();
        let largest = by_peer.iter().max_by_key(|(_, bytes)| **bytes).map(|(peer, _)| *peer);
        let now = Instant::now();
        let slow = state.holding.values().filter(|holding| {
            let is_largest = largest == Some(holding.connection.peer) && holding.connection.peer != waiting;
            holding.is_slow(now, is_largest)
        });
        if let Some(holding) = slow.min_by_key(|holding| holding.since) {
            holding.connection.cut(CutReason::NoMemory);
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn by_peer(&self) -> HashMap<IpAddr, usize> {
        let mut by_peer = HashMap::new();
        for holding in self.holding.values() {
            *by_peer.entry(holding.connection.peer).or_default() += holding.bytes;
        }
        by_peer
    }

    /// Whose turn it is.
    fn first(&self) -> Option<usize> {
        if self.waiting.is_empty() {
            return None;
        }
        let by_peer = self.by_peer();
        let order = |waiting: &Waiting| {
            let connection = &waiting.connection;
            let held = by_peer.get(&connection.peer).copied().unwrap_or_default();
            (held, !connection.is_proven(), waiting.bytes, waiting.number)
        };
        let waiting = self.waiting.iter().enumerate();
        waiting
            .min_by_key(|(_, waiting)| order(waiting))
            .map(|(index, _)| index)
    }
}

impl Holding {
    fn is_slow(&self, now: Instant, is_largest: bool) -> bool {
        let Some(progress) = self.connection.waits_for_client() else {
            return false;
        };
        let held = now.saturating_duration_since(self.since);
        let quiet = now.saturating_duration_since(progress.max(self.since));
        let moved = self.connection.moved().saturating_sub(self.moved);
        let expected = SLOWEST * held.as_millis() as u64 / 1000;
        quiet >= QUIET || held >= TRIAL && (is_largest || moved < expected)
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;
    use tokio::time::advance;

    use super::super::places::{Places, TIMES};
    use super::*;

    fn pool(total: usize) -> Arc<Pool> {
        Arc::new(Pool::new(total, Gauge::default()))
    }

    async fn connection(peer: [u8; 4]) -> Arc<Connection> {
        let places = Places::new(1, TIMES, Gauge::default(), Family::default());
        let connection = places.enter(peer.into()).await.unwrap().connection.clone();
        connection.shook_hands();
        connection.request_began();
        connection
    }

    /// Waits for bytes in a task of its own, and has begun to.
    async fn waiter(pool: &Arc<Pool>, connection: &Arc<Connection>, bytes: usize) -> JoinHandle<Option<Hold>> {
        let (pool, connection) = (pool.clone(), connection.clone());
        let waiter = tokio::spawn(async move { pool.take(&connection, bytes).await });
        tokio::task::yield_now().await;
        waiter
    }

    #[tokio::test(start_paused = true)]
    async fn whose_peer_holds_least_comes_first_and_then_who_wants_least() {
        let pool = pool(100);
        let (hog, other) = (connection([127, 0, 0, 2]).await, connection([127, 0, 0, 1]).await);
        let (first, second) = (pool.take(&hog, 50).await, pool.take(&hog, 50).await);
        let hogs = [waiter(&pool, &hog, 40).await, waiter(&pool, &hog, 30).await];
        let others = [waiter(&pool, &other, 50).await, waiter(&pool, &other, 20).await];
        drop(first);
        tokio::task::yield_now().await;
        let done = |waiters: &[JoinHandle<Option<Hold>>; 2]| [waiters[0].is_finished(), waiters[1].is_finished()];
        // 20 of the 50 that are free; then 50 are too many, and nobody passes them by.
        assert_eq!((done(&others), done(&hogs)), ([false, true], [false, false]));
        drop(second);
        tokio::task::yield_now().await;
        assert_eq!((done(&others), done(&hogs)), ([true, true], [false, true]));
        for waiter in others.into_iter().chain(hogs) {
            waiter.abort();
        }
        tokio::task::yield_now().await;
        assert!(pool.try_take(&other, 100).is_some(), "all bytes are back");
        assert_eq!(pool.held.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_client_that_holds_bytes_is_cut_only_when_somebody_waits() {
        let pool = pool(100);
        let (quiet, busy, other) = (
            connection([127, 0, 0, 2]).await,
            connection([127, 0, 0, 2]).await,
            connection([127, 0, 0, 2]).await,
        );
        let _held = (pool.take(&quiet, 50).await, pool.take(&busy, 50).await);
        let is_cut = |connection: &Arc<Connection>| {
            let connection = connection.clone();
            async move { tokio::time::timeout(Duration::ZERO, connection.is_cut()).await.is_ok() }
        };
        advance(3 * QUIET).await;
        assert!(!is_cut(&quiet).await);
        busy.received(1024 * 1024);
        let _waiter = waiter(&pool, &other, 10).await;
        sleep(2 * LOOK).await;
        assert!(is_cut(&quiet).await);
        assert!(!is_cut(&busy).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ours_to_do_is_not_the_clients_delay() {
        let pool = pool(100);
        let (deciding, other) = (connection([127, 0, 0, 2]).await, connection([127, 0, 0, 1]).await);
        let _held = pool.take(&deciding, 100).await;
        deciding.deciding();
        let _waiter = waiter(&pool, &other, 10).await;
        sleep(Duration::from_secs(4)).await;
        let cut = tokio::time::timeout(Duration::ZERO, deciding.is_cut()).await;
        assert!(cut.is_err());
    }

    #[tokio::test]
    async fn more_than_there_is_is_refused_at_once() {
        let connection = connection([127, 0, 0, 1]).await;
        assert!(pool(100).take(&connection, 101).await.is_none());
    }
}
