//! How long a token, a lease or a certificate lasts by the server's last answer, and when to see to it.

use std::time::Duration;

use fastrand::Rng;

use super::LEAST;

/// No answer is believed to be good for longer: what an absurd TTL, or none at all, comes to.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 86400);
/// When to renew, or to replace what cannot be renewed: about two thirds of the TTL, as Vault's own agent and operator do. A
/// little earlier, so that the limiter, which lets one request pass in a third of the TTL, has another one before the end.
const EARLY: (f64, f64) = (0.60, 0.65);
/// When to replace what could not be renewed so far.
const LATE: f64 = 0.9;
/// An answer to a renewal that is below this share of what was first given says that the maximum TTL is near. (Not all
/// of it: an answer may be a second short.)
const FULL: f64 = 0.9;

/// A token's, a lease's or a certificate's term. Times are the schedule's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    /// It was asked for, or last renewed.
    pub(super) since: Duration,
    /// It ends.
    pub(super) end: Duration,
    /// The next try to renew it; none if it cannot be renewed, or no further.
    pub(super) renew: Option<Duration>,
    /// From when a new one is to take its place.
    pub(super) replace: Duration,
    /// The TTL that it had at first.
    granted: Duration,
}

impl Term {
    /// One that the server began to count `age` ago at the most.
    pub(super) fn new(now: Duration, age: Duration, ttl: Duration, renewable: bool, rng: &mut Rng) -> Self {
        let ttl = ttl.min(LONGEST);
        let at = |share: f64| now + ttl.mul_f64(share).saturating_sub(age).max(LEAST);
        let early = at(EARLY.0 + (EARLY.1 - EARLY.0) * rng.f64());
        Self {
            since: now.saturating_sub(age),
            end: now + ttl.saturating_sub(age),
            renew: renewable.then_some(early),
            replace: if renewable { at(LATE) } else { early },
            granted: ttl,
        }
    }

    /// Takes in the answer to a renewal. One that gives less than at first will not be renewed again: the maximum TTL has
    /// come (<https://developer.hashicorp.com/vault/docs/concepts/lease>). One that gives nothing leaves the end where it was.
    pub(super) fn renewed(&mut self, now: Duration, age: Duration, ttl: Duration, renewable: bool, rng: &mut Rng) {
        let granted = self.granted;
        *self = if ttl.is_zero() {
            Self::new(now, Duration::ZERO, self.end.saturating_sub(now), false, rng)
        } else {
            Self::new(now, age, ttl, renewable && ttl >= granted.mul_f64(FULL), rng)
        };
        self.granted = granted;
    }

    /// A new one is to take its place at once.
    pub(super) fn give_up(&mut self, now: Duration) {
        self.renew = None;
        self.replace = now;
    }
}
