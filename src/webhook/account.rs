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
