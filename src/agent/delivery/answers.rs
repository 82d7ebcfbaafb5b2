//! The server's answers to the reads of an order.

use std::time::Duration;

use crate::agent::report::Failure;
use crate::agent::validity::whole_seconds;
use crate::secret::Lease;
use crate::vault::{Reading, Readings, Session, VaultError, Wanted};

/// The answer to each read.
pub(in crate::agent) struct Answers {
    wanted: Vec<Wanted>,
    readings: Readings,
    /// A missing secret is no failure.
    ignore_not_found: bool,
}

/// The answer to one read that did not fail.
pub(super) enum ReadOutcome<'a> {
    Secret(&'a Reading),
    /// There is no such secret, and the plan ignores that.
    Missing(&'a VaultError),
}

impl Answers {
    /// No path has been read.
    pub(super) fn none(wanted: Vec<Wanted>, ignore_not_found: bool) -> Self {
        Self {
            readings: wanted.iter().map(|_| None).collect(),
            wanted,
            ignore_not_found,
        }
    }

    /// What is read.
    pub(super) fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// What has no answer yet.
    pub(super) fn unread(&self) -> Vec<Wanted> {
        let all = self.wanted.iter().zip(&self.readings);
        all.filter(|(_, reading)| reading.is_none())
            .map(|(wanted, _)| wanted.clone())
            .collect()
    }

    /// Takes the results of what was unread, in the same order.
    pub(super) fn fill(&mut self, readings: Readings) {
        let unread = self.readings.iter_mut().filter(|reading| reading.is_none());
        for (place, reading) in unread.zip(readings) {
            *place = reading;
        }
    }

    /// The number of reads.
    pub(in crate::agent) fn len(&self) -> usize {
        self.readings.len()
    }

    /// Every read, with the secret if there is one.
    pub(in crate::agent) fn all(&self) -> impl Iterator<Item = (&Wanted, Option<&Reading>)> {
        let all = self.wanted.iter().zip(&self.readings);
        all.map(|(wanted, reading)| (wanted, reading.as_ref().and_then(|reading| reading.as_ref().ok())))
    }

    /// The failures in the order of the plan, and how many reads were not made because of them.
    pub(super) fn failures(&self) -> (Vec<Failure>, usize) {
        let failed = self
            .readings
            .iter()
            .flatten()
            .filter_map(|reading| reading.as_ref().err());
        let failed = failed.filter(|error| !(self.ignore_not_found && error.kind.is_missing()));
        let unread = self.readings.iter().filter(|reading| reading.is_none()).count();
        (failed.cloned().map(Failure::from).collect(), unread)
    }

    /// The secrets that end by themselves.
    pub(super) fn leases(&self) -> impl Iterator<Item = (&Wanted, &Lease)> {
        self.all()
            .filter_map(|(wanted, reading)| Some((wanted, reading?.lease.as_ref()?)))
    }

    /// Logs each secret that ends by itself, and that nothing renews.
    pub(in crate::agent) fn warn_of_ends(&self, session: Option<&Session>) {
        for (wanted, lease) in self.leases() {
            let lasts = lasts(lease, session);
            let end = match lasts == lease.duration {
                true => "it ends with its TTL",
                false => "it ends with the client token, before its lease would",
            };
            tracing::warn!(
                secret = %wanted.path,
                ttl_s = whole_seconds(lasts),
                renewable = lease.renewable,
                "a dynamic secret was delivered: nothing renews it, {end}"
            );
        }
    }

    /// The secret of this read, if there is one.
    pub(super) fn reading(&self, wanted: &Wanted) -> Option<&Reading> {
        match self.of(wanted)? {
            ReadOutcome::Secret(reading) => Some(reading),
            ReadOutcome::Missing(_) => None,
        }
    }

    /// The answer to this read. None: the read failed, see [`Self::failures`].
    pub(super) fn of(&self, wanted: &Wanted) -> Option<ReadOutcome<'_>> {
        let mut all = self.wanted.iter().zip(&self.readings);
        match all.find(|(known, _)| *known == wanted)?.1.as_ref()? {
            Ok(reading) => Some(ReadOutcome::Secret(reading)),
            Err(missing) if self.ignore_not_found && missing.kind.is_missing() => Some(ReadOutcome::Missing(missing)),
            Err(_) => None,
        }
    }
}

/// How long a secret lasts that ends by itself. A lease ends with the client token that made it; a lease without a TTL has
/// no other end. Without a session there are no leases with an id.
pub(super) fn lasts(lease: &Lease, session: Option<&Session>) -> Duration {
    match session.and_then(Session::left) {
        Some(left) if lease.id.is_some() && lease.duration.is_zero() => left,
        Some(left) if lease.id.is_some() => lease.duration.min(left),
        _ => lease.duration,
    }
}
