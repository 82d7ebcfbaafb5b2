//! The table of a listener's open connections.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::open::{Connections, OpenConnection, TimeLimits};
use super::victim::victim;
use crate::webhook::limits::ENDING_CONNECTIONS;
use crate::webhook::metrics::{ConnectionMetrics, CutReason};

/// A connection's entry in the table. Drop removes the entry.
pub(in crate::webhook) struct TableEntry {
    pub(in crate::webhook) connection: Arc<OpenConnection>,
    number: u64,
    table: Arc<ConnectionTable>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for TableEntry {
    fn drop(&mut self) {
        self.table.open().remove(&self.number);
        self.table.metrics.open.dec();
    }
}

/// The table of one listener's connections.
pub(in crate::webhook) struct ConnectionTable {
    max_connections: usize,
    times: TimeLimits,
    open: Mutex<Connections>,
    next_number: AtomicU64,
    /// One permit for each connection that still holds memory: in the table, or cut a moment ago.
    alive: Arc<Semaphore>,
    metrics: ConnectionMetrics,
}

impl ConnectionTable {
    pub(in crate::webhook) fn new(max_connections: usize, times: TimeLimits, metrics: ConnectionMetrics) -> Arc<Self> {
        Arc::new(Self {
            max_connections,
            times,
            open: Mutex::default(),
            next_number: AtomicU64::new(0),
            alive: Arc::new(Semaphore::new(max_connections + ENDING_CONNECTIONS)),
            metrics,
        })
    }

    fn open(&self) -> MutexGuard<'_, Connections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection that was cut.
    pub(super) fn count_cut(&self, reason: CutReason) {
        self.metrics.cut(reason);
    }

    /// Enters a new connection. If the table is full, another connection makes room. `None`: no connection can make room.
    pub(in crate::webhook) async fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<TableEntry> {
        if self.open().len() >= self.max_connections && !self.make_room(Some(peer.to_canonical())) {
            self.count_cut(CutReason::Refused);
            return None;
        }
        // The semaphore is never closed.
        let permit = self.alive.clone().acquire_owned().await.ok()?;
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(OpenConnection::new(peer.to_canonical(), self.times));
        self.open().insert(number, connection.clone());
        self.metrics.open.inc();
        Some(TableEntry {
            connection,
            number,
            table: self.clone(),
            _permit: permit,
        })
    }

    /// Cuts the connection that is needed least, and returns whether there was one. `newcomer` is the address of a new connection.
    /// `None`: the process needs a file descriptor for another purpose.
    pub(super) fn make_room(&self, newcomer: Option<IpAddr>) -> bool {
        let mut open = self.open();
        let Some(victim) = victim(&open, self.max_connections, newcomer) else {
            return false;
        };
        if let Some(victim) = open.remove(&victim) {
            victim.cut(CutReason::NoPlace);
        }
        true
    }

    /// Waits until all connections have ended, but not longer than `limit`; then cuts the rest.
    pub(in crate::webhook) async fn drain(&self, limit: Duration) {
        let all = u32::try_from(self.max_connections + ENDING_CONNECTIONS).unwrap_or(u32::MAX);
        if tokio::time::timeout(limit, self.alive.acquire_many(all)).await.is_err() {
            let rest: Vec<_> = self.open().values().cloned().collect();
            for connection in rest {
                connection.cut(CutReason::Stopping);
            }
        }
    }
}
