//! The choice of the connection that makes room when the table is full.
//!
//! A connection proves itself with its first valid review. Three quarters of the table are for proven connections.
//!
//! - While no more than three quarters are proven, an unproven connection makes room: the oldest connection of the address that
//!   has most unproven connections. If all of these are young, a proven connection whose client has stalled goes first.
//! - While more are proven, a proven connection makes room, of the address that has most proven connections: the connection that
//!   has been idle for the longest time, else the connection whose client has stalled for the longest time.
//! - If the first choice finds no connection, the other kind makes room.
//! - A proven connection that works stays. The exception is an address that holds more than three quarters of the table.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::open::{Connections, Spare};

/// A younger connection has had no time for its first review.
const YOUNG: Duration = Duration::from_millis(500);

/// The number of the connection that makes room. `newcomer` is the address that the new connection comes from.
pub(super) fn victim(open: &Connections, max_connections: usize, newcomer: Option<IpAddr>) -> Option<u64> {
    let candidates = Candidates {
        open,
        proven: open
            .iter()
            .map(|(number, connection)| (*number, connection.is_proven()))
            .collect(),
    };
    let reserved = max_connections * 3 / 4;
    if candidates.proven.values().filter(|is_proven| **is_proven).count() > reserved {
        candidates
            .spare(Spare::Idle)
            .or_else(|| candidates.unproven(Duration::ZERO))
            .or_else(|| candidates.of_a_hog(reserved, newcomer))
    } else {
        // A young connection had no time for its first review, so stalled proven clients make room before it.
        candidates
            .unproven(YOUNG)
            .or_else(|| candidates.spare(Spare::Stalled))
            .or_else(|| candidates.unproven(Duration::ZERO))
            .or_else(|| candidates.spare(Spare::Idle))
    }
}

struct Candidates<'t> {
    open: &'t Connections,
    /// Whether each connection is proven. Read once, because another thread may change the state meanwhile.
    proven: HashMap<u64, bool>,
}

impl Candidates<'_> {
    /// The number of connections of each address, either proven or unproven.
    fn counts(&self, proven: bool) -> HashMap<IpAddr, usize> {
        let mut counts = HashMap::new();
        for (_, connection) in self.open.iter().filter(|(number, _)| self.proven[number] == proven) {
            *counts.entry(connection.peer).or_default() += 1;
        }
        counts
    }

    /// The oldest unproven connection of the address that has most unproven connections, if at least `age` old. A connection whose
    /// request is complete comes last.
    fn unproven(&self, age: Duration) -> Option<u64> {
        let counts = self.counts(false);
        let largest = counts.values().max()?;
        let of_largest = || {
            self.open
                .iter()
                .filter(|(number, connection)| !self.proven[number] && counts[&connection.peer] == *largest)
                .filter(|(_, connection)| connection.age() >= age)
        };
        of_largest()
            .find(|(_, connection)| !connection.is_being_answered())
            .or_else(|| of_largest().next())
            .map(|(number, _)| *number)
    }

    /// Of the address that has most proven connections: the connection that has been idle for the longest time, else stalled for
    /// the longest time. `least`: [`Spare::Stalled`] leaves out idle connections.
    fn spare(&self, least: Spare) -> Option<u64> {
        let counts = self.counts(true);
        let largest = counts.values().max()?;
        self.open
            .iter()
            .filter(|(number, connection)| self.proven[number] && counts[&connection.peer] == *largest)
            .filter_map(|(number, connection)| Some((connection.spare()?, *number)))
            .filter(|((spare, _), _)| *spare >= least)
            .min()
            .map(|(_, number)| number)
    }

    /// The oldest proven connection of an address that has more than `reserved` proven connections: such an address must not block
    /// other addresses, even if all of its connections work.
    fn of_a_hog(&self, reserved: usize, newcomer: Option<IpAddr>) -> Option<u64> {
        let (hog, held) = self.counts(true).into_iter().max_by_key(|(_, held)| *held)?;
        if held <= reserved || newcomer == Some(hog) {
            return None;
        }
        self.open
            .iter()
            .find(|(number, connection)| self.proven[number] && connection.peer == hog)
            .map(|(number, _)| *number)
    }
}
