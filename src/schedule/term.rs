//! The term of a token, a lease or a certificate: its end by the server's last answer, and when to renew or replace it.

use std::time::Duration;

use fastrand::Rng;

use super::LEAST;

/// The longest term. A longer TTL counts as this term, and so does a token that never ends.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 86400);
/// When to renew, or to replace if no renewal is possible, in parts of the TTL: from, to. Vault's own agent and operator renew
/// at about two thirds. podkey does so a little earlier: the limiter allows one request in a third of the TTL, so there is time
/// for a second request before the end.
const EARLY: (f64, f64) = (0.60, 0.65);
/// The earliest time of a renewal or replacement that makes way for those of the pod's other secrets, in parts of the TTL. Later
/// than the limiter's third of the TTL.
const EARLIEST: f64 = 0.40;
/// How far apart the renewals and replacements of a pod's secrets are planned, and how many times podkey looks for such a time.
const APART: Duration = Duration::from_secs(1);
const LOOKS: u8 = 16;
/// When to replace after renewals that failed, in parts of the TTL.
const LATE: f64 = 0.9;
/// A renewal that gives less than this part of the first TTL shows that the maximum TTL is near. (Not the
/// whole TTL: the TTL in an answer may be a second too short.)
const FULL: f64 = 0.9;

/// The time in which a token, a lease or a certificate is valid, by the schedule's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    /// The time of the request or of the last renewal.
    pub(super) since: Duration,
    /// The end of the term.
    pub(super) end: Duration,
    /// The next renewal. None: no renewal is possible, or no further renewal.
    pub(super) renew: Option<Duration>,
    /// The time from which to replace the token, lease or certificate.
    pub(super) replace: Duration,
    /// The first TTL.
    granted: Duration,
}

impl Term {
    /// A term that began at most `age` ago by the server's clock.
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

    /// Records the answer to a renewal. After an answer with less than the first TTL there is no further renewal: the maximum TTL
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

    /// When the renewal is tried first, or the replacement if no renewal is possible.
    pub(super) fn first_try(&self) -> Duration {
        self.renew.unwrap_or(self.replace)
    }

    /// Moves the first try away from those of other secrets, which may have been read in the same second. The more of them there are,
    /// the earlier it may be.
    pub(super) fn spread(&mut self, now: Duration, others: &[Duration], rng: &mut Rng) {
        let distance = |at: Duration| others.iter().map(|other| other.abs_diff(at)).min();
        let ttl = self.end.saturating_sub(self.since);
        let mut best = self.first_try();
        for look in 1..=LOOKS {
            if distance(best) >= Some(APART) {
                break;
            }
            let from = EARLY.0 - (EARLY.0 - EARLIEST) * f64::from(look) / f64::from(LOOKS);
            let at = self.since + ttl.mul_f64(from + (EARLY.1 - from) * rng.f64());
            let at = at.max(now + LEAST);
            if distance(at) > distance(best) {
                best = at;
            }
        }
        match &mut self.renew {
            Some(renew) => *renew = best,
            None => self.replace = best,
        }
    }

    /// When the renewal or replacement is tried first, and when it must be done: a renewal before the replacement is due, a
    /// replacement before `end`.
    pub(super) fn first_and_last_try(&self, now: Duration, end: Duration) -> (Duration, Duration) {
        match self.renew {
            Some(renew) if self.replace > now => (renew, self.replace.min(end)),
            Some(_) | None => (self.replace, end),
        }
    }

    /// No further renewal: replace at once.
    pub(super) fn give_up(&mut self, now: Duration) {
        self.renew = None;
        self.replace = now;
    }
}
