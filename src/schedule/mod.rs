//! When the sidecar logs in, renews its token and its leases, reads secrets again, and revokes a token that it has replaced.
//!
//! A state machine without clock, I/O or async. The loop around it has four lines: sleep until [`Schedule::wake`]; take the
//! work that is [`Schedule::due`], one piece at a time, until none is left; do the work, with one try; report the result.
//! Times are durations on one clock that only goes forward and counts the sleep of a suspended machine too. All other facts
//! come from the server's answers, never from a wall clock, and never from a look-up: a standby may answer a look-up with a
//! TTL that is days old.
//!
//! The rules:
//!
//! - A secret without a lease is read again after the interval less up to a tenth of it, so that no change is older than the
//!   interval when it is seen. All such secrets of the pod are read together. The first read comes at a random moment of the
//!   first interval, so that pods which started together do not read together for ever.
//! - A lease, and the token, is renewed at about two thirds of its TTL ([`term`]). A lease or token that cannot be renewed, or
//!   no further (its maximum TTL is near), is replaced at that time; one whose renewal failed, after nine tenths. Tries come
//!   more often as the end comes nearer, but never twice in a second.
//! - A lease ends with the token that made it (<https://developer.hashicorp.com/vault/docs/concepts/lease>). After a new login
//!   the leased secrets are therefore read again with the new token, and the old token is revoked when no credential of it is
//!   in use any more.
//! - A server may check, at each renewal of a token, whether the service-account token of the login is still valid (OpenBao ≥
//!   2.6.4 and 2.7.1, with the kubernetes method). So a new login comes before that token expires ([`Proof`]), as soon as there
//!   is a newer one to log in with. A token whose renewal is denied is replaced at once, by one login.
//! - A replaced token is revoked a little later than its last lease was replaced: a program that has just read the old
//!   credential may still use it.
//! - Every request that may make a new credential needs a [`Permit`] of the [`limiter`].
//! - A server that is unavailable, or answers 429, gets no request at all for a while ([`pace`]). Other failures are retried one
//!   by one, with a growing pause. So is a request without an answer to a server that answers others. The files stay unchanged
//!   meanwhile.
//! - Secrets without a lease take turns: none waits for another one that always fails.
//! - A read that was allowed and is denied now is answered by one new login: the token may be gone, or its role may have other
//!   policies. If the login does not help, the denied read is a failure like others.
//! - Work that was missed, while the machine was suspended or the server unavailable, is done once.

mod answers;
mod due;
mod freshness;
mod limiter;
mod numbers;
mod pace;
mod secrets;
mod term;
mod tokens;
mod work;

#[cfg(test)]
mod tests;

use std::time::Duration;

use fastrand::Rng;

pub(crate) use self::answers::{Grant, Lifetime, Obtained, Proof};
pub(crate) use self::limiter::Permit;
pub(crate) use self::numbers::{SecretIndex, TokenNumber};
pub(crate) use self::secrets::SecretFreshness;
pub(crate) use self::work::{Work, WorkFailure};

use self::limiter::{FLOOR, Limiter};
use self::pace::{Backoff, Pace};
use self::secrets::{ScheduledSecret, SecretValidity};
use self::term::LONGEST;
use self::tokens::{CurrentToken, ReplacedToken};

/// The same work is not done twice within this time.
const LEAST: Duration = Duration::from_secs(1);

/// The state machine. See the module's description.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    rng: Rng,
    backoff: Backoff,
    pace: Pace,
    limiter: Limiter,
    token: Option<CurrentToken>,
    replaced: Vec<ReplacedToken>,
    /// How many logins succeeded.
    logins: u32,
    login: Retry,
    secrets: Vec<ScheduledSecret>,
    /// All secrets, in the order of the next read: a secret that was requested goes to the end.
    read_order: Vec<SecretIndex>,
    /// When all static secrets are read next.
    next_round: Duration,
    /// The time of the last call of [`Schedule::due`]: terms of the work's result are counted from then.
    asked: Duration,
}

/// The tries of one request.
#[derive(Debug, Clone, Copy, Default)]
struct Retry {
    /// Failures in a row.
    failures: u32,
    /// The request is not sent before.
    next: Duration,
}

impl Schedule {
    /// `token` is the token of the handover, whose number is the default one. Without it, the leases in `secrets` count as lost,
    /// but their past still counts for the limiter. A secret whose past is not known is `None`.
    pub(crate) fn new(
        now: Duration,
        seed: u64,
        interval: Duration,
        token: Option<Obtained<Grant>>,
        secrets: &[Option<Obtained<Lifetime>>],
    ) -> Self {
        let interval = interval.min(LONGEST);
        let backoff = Backoff::new(interval);
        let mut rng = Rng::with_seed(seed);
        let next_round = now + interval.mul_f64(rng.f64()).max(LEAST);
        let mut schedule = Self {
            interval,
            rng,
            backoff,
            pace: Pace::new(backoff),
            limiter: Limiter::new(secrets.len(), now),
            token: None,
            replaced: Vec::new(),
            logins: 0,
            login: Retry::default(),
            secrets: secrets.iter().map(|_| ScheduledSecret::unread()).collect(),
            read_order: (0..secrets.len()).map(SecretIndex).collect(),
            next_round,
            asked: now,
        };
        if let Some(Obtained { answer, age }) = token {
            schedule.token = Some(schedule.new_token(TokenNumber::default(), now, age, answer));
        }
        for (index, obtained) in secrets.iter().enumerate() {
            if let Some(Obtained { answer, age }) = *obtained {
                schedule.take_over(SecretIndex(index), now, age, answer);
            }
        }
        if schedule.token.is_none() {
            schedule.read_all_again(now);
        }
        schedule
    }

    /// Takes over what an earlier process obtained.
    fn take_over(&mut self, index: SecretIndex, now: Duration, age: Duration, lifetime: Lifetime) {
        self.learn(index, now, age, lifetime);
        self.limiter.older(index, age);
        let secret = &mut self.secrets[index.0];
        if matches!(secret.validity, SecretValidity::Unknown) {
            secret.retry.next = self.next_round + FLOOR;
        }
    }

    /// All leases are lost with their token. A certificate is as good as before; all other secrets are read again.
    fn read_all_again(&mut self, now: Duration) {
        for secret in &mut self.secrets {
            match &mut secret.validity {
                SecretValidity::Ends(_) => continue,
                SecretValidity::Lease(term, _) => term.give_up(now),
                SecretValidity::Static | SecretValidity::Unknown => {}
            }
            secret.freshness = SecretFreshness::Stale;
            secret.retry.next = now;
        }
    }

    /// Takes back a permit whose request cannot have made a credential: the request was not sent, or was refused with a 4xx, or
    /// by a sealed server.
    pub(crate) fn return_permit(&mut self, permit: Permit) {
        self.limiter.unused(permit);
    }

    /// The retry after one more failure, sooner where something `end`s.
    fn again(&mut self, retry: Retry, now: Duration, end: Option<Duration>) -> Retry {
        let failures = retry.failures + 1;
        Retry {
            failures,
            next: now + self.backoff.pause(failures, now, end, &mut self.rng),
        }
    }

    /// Notes whether the server is available, by an answer or its absence.
    fn answered(&mut self, now: Duration, failure: Option<&WorkFailure>) {
        let end = self.next_end(now);
        match failure {
            Some(WorkFailure::Unavailable) => self.pace.unavailable(now, end, &mut self.rng),
            Some(WorkFailure::Throttled(asked)) => self.pace.throttled(now, *asked, end, &mut self.rng),
            _ => self.pace.answered(now, end, &mut self.rng),
        }
    }

    /// When the first of the pod's token and credentials ends.
    fn next_end(&self, now: Duration) -> Option<Duration> {
        let token = self.token.as_ref().map(|token| token.term.end);
        let ends = self.secrets.iter().filter_map(|secret| match &secret.validity {
            SecretValidity::Lease(term, with) => Some(self.lease_end(term, *with)),
            SecretValidity::Ends(term) => Some(term.end),
            SecretValidity::Static | SecretValidity::Unknown => None,
        });
        ends.chain(token).filter(|end| *end > now).min()
    }

    /// Never the whole interval: the read and the swap take time too.
    fn jittered_interval(&mut self) -> Duration {
        self.interval.mul_f64(0.9 + 0.09 * self.rng.f64())
    }
}
