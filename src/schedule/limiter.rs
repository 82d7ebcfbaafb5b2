//! The hard limit on new credentials: whatever fails, and whatever the schedule thinks, each one needs a [`Permit`].

use std::time::Duration;

use super::Source;

/// Two new credentials of one source are at least this far apart, however short they live.
pub(super) const FLOOR: Duration = Duration::from_secs(30);

/// The right to ask once for something that may make a new credential: read a database role, write to a PKI role. Whoever
/// sends such a request takes it by value, so that one permit is one request. Only the limiter makes it.
#[derive(Debug)]
#[must_use = "a permit that is not used is given back"]
pub(crate) struct Permit {
    source: Source,
    /// Since when the source was free.
    free: Duration,
}

/// At most one new credential per source in max(30 s, TTL/3). It counts permits, not answers: an answer that was lost may
/// have made a credential too. (Programs that read again whenever a renewal failed have made hundreds of database users in
/// a minute, each of which Vault keeps until its TTL.)
#[derive(Debug)]
pub(super) struct Limiter(Vec<Allowance>);

#[derive(Debug, Clone, Copy)]
struct Allowance {
    /// From when the next permit can be had.
    free: Duration,
    /// How long the last credential lives, as far as known.
    ttl: Duration,
}

impl Limiter {
    /// Of sources whose past is not known: each counts as read just now.
    pub(super) fn new(sources: usize, now: Duration) -> Self {
        let unknown = Allowance {
            free: now + FLOOR,
            ttl: Duration::ZERO,
        };
        Self(vec![unknown; sources])
    }

    /// From when a permit can be had.
    pub(super) fn free(&self, source: Source) -> Duration {
        self.0.get(source.0).map_or(Duration::MAX, |allowance| allowance.free)
    }

    /// A permit, if one can be had now.
    pub(super) fn permit(&mut self, source: Source, now: Duration) -> Option<Permit> {
        let allowance = self.0.get_mut(source.0).filter(|allowance| allowance.free <= now)?;
        let permit = Permit {
            source,
            free: allowance.free,
        };
        allowance.free = now + spacing(allowance.ttl);
        Some(permit)
    }

    /// Takes back a permit that no credential can have come of: the request was not sent, or refused.
    pub(super) fn unused(&mut self, permit: Permit) {
        if let Some(allowance) = self.0.get_mut(permit.source.0) {
            allowance.free = permit.free;
        }
    }

    /// There is a new credential, which lives for `ttl`.
    pub(super) fn made(&mut self, source: Source, now: Duration, ttl: Duration) {
        if let Some(allowance) = self.0.get_mut(source.0) {
            allowance.ttl = ttl;
            allowance.free = now + spacing(ttl);
        }
    }

    /// What was said to have been made now was made so long ago.
    pub(super) fn older(&mut self, source: Source, age: Duration) {
        if let Some(allowance) = self.0.get_mut(source.0) {
            allowance.free = allowance.free.saturating_sub(age);
        }
    }
}

fn spacing(ttl: Duration) -> Duration {
    FLOOR.max(ttl / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source = Source(0);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn limiter(ttl: u64) -> Limiter {
        let mut limiter = Limiter::new(1, secs(0));
        limiter.made(SOURCE, secs(1000), secs(ttl));
        limiter
    }

    #[test]
    fn one_credential_in_a_third_of_its_ttl_but_never_two_in_30_seconds() {
        for (ttl, wait) in [(0, 30), (60, 30), (90, 30), (3600, 1200), (86400, 28800)] {
            let mut limiter = limiter(ttl);
            for round in 1..4 {
                let free = secs(1000 + round * wait);
                assert!(
                    limiter.permit(SOURCE, free - Duration::from_nanos(1)).is_none(),
                    "{ttl}"
                );
                assert_eq!(limiter.free(SOURCE), free);
                assert!(limiter.permit(SOURCE, free).is_some(), "{ttl}");
                assert!(limiter.permit(SOURCE, free).is_none(), "{ttl}");
            }
        }
    }

    #[test]
    fn a_permit_that_made_nothing_is_given_back() {
        let mut limiter = limiter(3600);
        for _ in 0..3 {
            let permit = limiter.permit(SOURCE, secs(3000)).unwrap();
            limiter.unused(permit);
        }
        assert!(limiter.permit(SOURCE, secs(3000)).is_some());
        assert!(limiter.permit(SOURCE, secs(3001)).is_none());
    }

    #[test]
    fn what_was_read_before_counts_with_its_age_and_an_unknown_past_as_just_now() {
        let mut limiter = Limiter::new(1, secs(5));
        assert_eq!(limiter.free(SOURCE), secs(35));
        for (age, free) in [(1000, 205), (1205, 0), (9000, 0)] {
            limiter.made(SOURCE, secs(5), secs(3600));
            limiter.older(SOURCE, secs(age));
            assert_eq!(limiter.free(SOURCE), secs(free));
        }
        assert!(limiter.permit(Source(1), secs(9000)).is_none(), "no such source");
    }
}
