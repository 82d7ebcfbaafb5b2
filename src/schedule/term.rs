//! The term of a token, a lease or a certificate: its end by the server's last answer, and when to renew or replace it.

use std::time::Duration;

use fastrand::Rng;

use super::LEAST;

/// The longest term. An absurd TTL counts as this one, and so does the TTL of a token that never ends.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 86400);
/// When to renew, or to replace where no renewal is possible, in parts of the TTL: from, to. About two thirds, as Vault's own agent
/// and operator do; a little earlier, because the limiter lets one request pass in a third of the TTL, and so allows a second
/// one before the end.
const EARLY: (f64, f64) = (0.60, 0.65);
/// When to replace after renewals that failed, in parts of the TTL.
const LATE: f64 = 0.9;
/// A renewal that gives less than this part of the first TTL shows that the maximum TTL is near. (Less than the whole: an answer may
/// be a second short.)
const FULL: f64 = 0.9;

/// From when to when a token, a lease or a certificate is valid. Times are the schedule's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    /// When it was requested, or last renewed.
    pub(super) since: Duration,
    /// When it ends.
    pub(super) end: Duration,
    /// The next try to renew it; None: it cannot be renewed, or no further.
    pub(super) renew: Option<Duration>,
    /// From when it is to be replaced.
    pub(super) replace: Duration,
    /// Its first TTL.
    granted: Duration,
}

impl Term {
    /// A term that the server began to count at most `age` ago.
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

    /// Takes in the answer to a renewal. After an answer with less than the first TTL there is no further renewal: the maximum TTL
    /// is near (<https://developer.hashicorp.com/vault/docs/concepts/lease>). An answer with a TTL of zero does not move the end.
    pub(super) fn renewed(&mut self, now: Duration, age: Duration, ttl: Duration, renewable: bool, rng: &mut Rng) {
        let granted = self.granted;
        *self = if ttl.is_zero() {
            Self::new(now, Duration::ZERO, self.end.saturating_sub(now), false, rng)
        } else {
            Self::new(now, age, ttl, renewable && ttl >= granted.mul_f64(FULL), rng)
        };
        self.granted = granted;
    }

    /// It is to be replaced at once.
    pub(super) fn give_up(&mut self, now: Duration) {
        self.renew = None;
        self.replace = now;
    }
}
