//! The hard limit on new credentials: each request that may make a credential needs a [`Permit`], whatever failed before.

use std::time::Duration;

use super::SecretIndex;

/// The shortest time between two new credentials of one secret, however short their TTL is.
pub(super) const FLOOR: Duration = Duration::from_secs(30);

/// The right to send one request that may make a new credential, such as a read of a database role or a write to a PKI role.
/// The function that sends the request takes the permit by value, so a permit cannot be used twice. Only the limiter makes
/// permits.
#[derive(Debug)]
#[must_use = "a permit that is not used is given back"]
pub(crate) struct Permit {
    index: SecretIndex,
    /// The time from which the limiter allowed the request.
    free: Duration,
}

/// At most one new credential per secret in max(30 s, TTL/3). The limiter counts permits, not answers: a request whose answer was lost
/// may have made a credential too. (Other programs read again after
/// each failed renewal, and made hundreds of database users in a minute. Vault keeps each user until its TTL is over.)
#[derive(Debug)]
pub(super) struct Limiter(Vec<Allowance>);

#[derive(Debug, Clone, Copy)]
struct Allowance {
    /// The time from which the limiter gives the next permit.
    free: Duration,
    /// The TTL of the last credential. Zero: not known.
    ttl: Duration,
}

impl Limiter {
    /// Each secret counts as read at `now`, because its past is not known.
    pub(super) fn new(secrets: usize, now: Duration) -> Self {
        let unknown = Allowance {
            free: now + FLOOR,
            ttl: Duration::ZERO,
        };
        Self(vec![unknown; secrets])
    }

    /// The time from which the limiter gives a permit.
    pub(super) fn free(&self, index: SecretIndex) -> Duration {
        self.0.get(index.0).map_or(Duration::MAX, |allowance| allowance.free)
    }

    /// A permit, if the limiter gives one now.
    pub(super) fn permit(&mut self, index: SecretIndex, now: Duration) -> Option<Permit> {
        let allowance = self.0.get_mut(index.0).filter(|allowance| allowance.free <= now)?;
        let permit = Permit {
            index,
            free: allowance.free,
        };
        allowance.free = now + spacing(allowance.ttl);
        Some(permit)
    }

    /// Takes back a permit whose request cannot have made a credential: the request was not sent, or the server refused the
    /// request.
    pub(super) fn unused(&mut self, permit: Permit) {
        if let Some(allowance) = self.0.get_mut(permit.index.0) {
            allowance.free = permit.free;
        }
    }

    /// Records a new credential, made now, with this TTL.
    pub(super) fn made(&mut self, index: SecretIndex, now: Duration, ttl: Duration) {
        if let Some(allowance) = self.0.get_mut(index.0) {
            allowance.ttl = ttl;
            allowance.free = now + spacing(ttl);
        }
    }

    /// Corrects the last record: the credential was made `age` ago.
    pub(super) fn older(&mut self, index: SecretIndex, age: Duration) {
        if let Some(allowance) = self.0.get_mut(index.0) {
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

    const SECRET: SecretIndex = SecretIndex(0);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn limiter(ttl: u64) -> Limiter {
        let mut limiter = Limiter::new(1, secs(0));
        limiter.made(SECRET, secs(1000), secs(ttl));
        limiter
    }

    #[test]
    fn one_credential_is_made_in_a_third_of_the_ttl_and_never_two_in_30_seconds() {
        for (ttl, wait) in [(0, 30), (60, 30), (90, 30), (3600, 1200), (86400, 28800)] {
            let mut limiter = limiter(ttl);
            for round in 1..4 {
                let free = secs(1000 + round * wait);
                assert!(
                    limiter.permit(SECRET, free - Duration::from_nanos(1)).is_none(),
                    "{ttl}"
                );
                assert_eq!(limiter.free(SECRET), free);
                assert!(limiter.permit(SECRET, free).is_some(), "{ttl}");
                assert!(limiter.permit(SECRET, free).is_none(), "{ttl}");
            }
        }
    }

    #[test]
    fn a_permit_whose_request_made_no_credential_can_be_returned() {
        let mut limiter = limiter(3600);
        for _ in 0..3 {
            let permit = limiter.permit(SECRET, secs(3000)).unwrap();
            limiter.unused(permit);
        }
        assert!(limiter.permit(SECRET, secs(3000)).is_some());
        assert!(limiter.permit(SECRET, secs(3001)).is_none());
    }

    #[test]
    fn an_earlier_read_counts_with_its_age_and_a_secret_with_an_unknown_past_counts_as_read_now() {
        let mut limiter = Limiter::new(1, secs(5));
        assert_eq!(limiter.free(SECRET), secs(35));
        for (age, free) in [(1000, 205), (1205, 0), (9000, 0)] {
            limiter.made(SECRET, secs(5), secs(3600));
            limiter.older(SECRET, secs(age));
            assert_eq!(limiter.free(SECRET), secs(free));
        }
        assert!(limiter.permit(SecretIndex(1), secs(9000)).is_none(), "no such secret");
    }
}
