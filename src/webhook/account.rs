//! The account of memory: a request takes bytes from the account before it allocates them, and returns them when they are
//! freed. The account has parts, so that a request that waits for one part keeps no request out of another;
//! [`super::limits`] has their sizes.
//!
//! A request that finds a part empty waits. First comes the request whose address holds least, then the request that wants
//! least. While requests wait, podkey cuts clients that hold bytes and do nothing.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::connection::OpenConnection;
use super::limits::{ANSWERS_BYTES, LARGE_BODIES_BYTES, SMALL_BODIES_BYTES};
use super::metrics::{AccountPart, AccountPartLabel, CutReason};

/// All parts of the account.
pub(super) struct Account {
    pub(super) small_bodies: Arc<Pool>,
    pub(super) large_bodies: Arc<Pool>,
    pub(super) answers: Arc<Pool>,
}

impl Account {
    pub(super) fn new(held: &Family<AccountPartLabel, Gauge>) -> Self {
        let pool = |total, part| {
            let held = held.get_or_create(&AccountPartLabel { part }).clone();
            Arc::new(Pool::new(total, held))
        };
        Self {
            small_bodies: pool(SMALL_BODIES_BYTES, AccountPart::SmallBodies),
            large_bodies: pool(LARGE_BODIES_BYTES, AccountPart::LargeBodies),
            answers: pool(ANSWERS_BYTES, AccountPart::Answers),
        }
    }
}

/// While a request waits: a client that holds bytes and sends and reads nothing for this time is cut.
const QUIET: Duration = Duration::from_millis(500);
/// While a request waits: a client that holds bytes for longer than this must be faster than [`SLOWEST`]. Even a faster client is
/// cut if its address holds most bytes and a client of another address waits.
const TRIAL: Duration = Duration::from_secs(1);
/// The lowest speed of a client, in bytes per second.
const SLOWEST: u64 = 256 * 1024;
/// How often a waiting request looks for a client to cut.
const LOOK: Duration = Duration::from_millis(100);

/// One part of the account, in bytes.
pub(super) struct Pool {
    total: usize,
    /// The bytes that are taken, for the metrics.
    held: Gauge,
    state: Mutex<PoolState>,
}

struct PoolState {
    free: usize,
    last_number: u64,
    holding: BTreeMap<u64, Holding>,
    waiting: Vec<Waiting>,
}

struct Holding {
    bytes: usize,
    connection: Arc<OpenConnection>,
    since: Instant,
    /// The bytes that the connection had moved at `since`.
    moved: u64,
}

struct Waiting {
    number: u64,
    bytes: usize,
    connection: Arc<OpenConnection>,
    granted: oneshot::Sender<()>,
}

/// Bytes of the account, or a place in the queue for bytes. Drop returns the bytes or leaves the queue.
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
        let state = PoolState {
            free: total,
            last_number: 0,
            holding: BTreeMap::new(),
            waiting: Vec::new(),
        };
        Self {
            total,
            held,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes, if enough are free and no request waits.
    pub(super) fn try_take(self: &Arc<Self>, connection: &Arc<OpenConnection>, bytes: usize) -> Option<Hold> {
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

    /// Takes bytes, after a wait if necessary. `None`: the part has fewer bytes in total.
    pub(super) async fn take(self: &Arc<Self>, connection: &Arc<OpenConnection>, bytes: usize) -> Option<Hold> {
        if bytes > self.total {
            return None;
        }
        if let Some(hold) = self.try_take(connection, bytes) {
            return Some(hold);
        }
        let _waits = connection.waits_for_memory();
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

    fn hold(&self, state: &mut PoolState, number: u64, bytes: usize, connection: Arc<OpenConnection>) {
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

    /// Gives free bytes to waiting requests in their order, until the next request wants more bytes than are free.
    fn grant(&self, state: &mut PoolState) {
        while let Some(first) = state.first() {
            if state.waiting[first].bytes > state.free {
                return;
            }
            let waiting = state.waiting.swap_remove(first);
            self.hold(state, waiting.number, waiting.bytes, waiting.connection);
            // If the request has ended, the receiver is gone, and the request's hold is dropped.
            let _ = waiting.granted.send(());
        }
    }

    /// Cuts one client that holds bytes and is too slow. `waiting` is the address of the client that waits.
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

impl PoolState {
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn by_peer(&self) -> HashMap<IpAddr, usize> {
        let mut by_peer = HashMap::new();
        for holding in self.holding.values() {
            *by_peer.entry(holding.connection.peer).or_default() += holding.bytes;
        }
        by_peer
    }

    /// The index of the next waiting request.
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

    use super::super::connection::{ConnectionTable, WEBHOOK_TIMES};
    use super::super::metrics::ConnectionMetrics;
    use super::*;

    fn pool(total: usize) -> Arc<Pool> {
        Arc::new(Pool::new(total, Gauge::default()))
    }

    async fn connection(peer: [u8; 4]) -> Arc<OpenConnection> {
        let table = ConnectionTable::new(1, WEBHOOK_TIMES, ConnectionMetrics::default());
        let connection = table.enter(peer.into()).await.unwrap().connection.clone();
        connection.shook_hands();
        connection.request_began();
        connection
    }

    /// Starts a task that waits for bytes.
    async fn waiter(pool: &Arc<Pool>, connection: &Arc<OpenConnection>, bytes: usize) -> JoinHandle<Option<Hold>> {
        let (pool, connection) = (pool.clone(), connection.clone());
        let waiter = tokio::spawn(async move { pool.take(&connection, bytes).await });
        tokio::task::yield_now().await;
        waiter
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_whose_address_holds_least_is_first_then_the_request_that_wants_least() {
        let pool = pool(100);
        let (hog, other) = (connection([127, 0, 0, 2]).await, connection([127, 0, 0, 1]).await);
        let (first, second) = (pool.take(&hog, 50).await, pool.take(&hog, 50).await);
        let hogs = [waiter(&pool, &hog, 40).await, waiter(&pool, &hog, 30).await];
        let others = [waiter(&pool, &other, 50).await, waiter(&pool, &other, 20).await];
        drop(first);
        tokio::task::yield_now().await;
        let done = |waiters: &[JoinHandle<Option<Hold>>; 2]| [waiters[0].is_finished(), waiters[1].is_finished()];
        // 50 bytes become free and the first request takes 20. The next request wants 50, and no request overtakes it.
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
    async fn a_quiet_client_that_holds_bytes_is_cut_only_when_a_request_waits() {
        let pool = pool(100);
        let (quiet, busy, other) = (
            connection([127, 0, 0, 2]).await,
            connection([127, 0, 0, 2]).await,
            connection([127, 0, 0, 2]).await,
        );
        let _held = (pool.take(&quiet, 50).await, pool.take(&busy, 50).await);
        let is_cut = |connection: &Arc<OpenConnection>| {
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
    async fn a_client_is_not_cut_because_of_a_delay_in_podkey() {
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
    async fn a_request_for_more_bytes_than_the_part_has_is_refused_at_once() {
        let connection = connection([127, 0, 0, 1]).await;
        assert!(pool(100).take(&connection, 101).await.is_none());
    }
}
