//! When the sidecar logs in, renews its token and its leases, reads secrets again, and revokes a token that it has replaced.
//!
//! A state machine without clock, I/O or async. The loop around the schedule sleeps until [`Schedule::wake`]; takes the work
//! that is [`Schedule::due`], one piece at a time, until none is left; does the work, with one try; and reports the result.
//! Times are durations on one clock that only goes forward and that also counts the time in which the machine is suspended.
//! All other facts come from the server's answers. None comes from a wall clock, and none from a look-up of a token or lease:
//! a standby may answer a look-up with a TTL that is days old.
//!
//! The rules:
//!
//! - A secret without a lease is read again after 90 to 99 per cent of the interval, so that podkey sees every change within
//!   the interval. All such secrets of the pod are read together. The first read is at a random moment of the first interval,
//!   so that pods that started together do not read together for ever.
//! - Leases and the token are renewed at about two thirds of their TTL ([`term`]). A lease or token that cannot be renewed, or
//!   cannot be renewed further (the maximum TTL is near), is replaced at that time. A lease or token whose renewal failed is
//!   replaced after nine tenths of the TTL. Tries become more frequent near the end, but there are never two in one second.
//! - A lease ends with the token that made it (<https://developer.hashicorp.com/vault/docs/concepts/lease>). After a new login,
//!   the leased secrets are therefore read again with the new token. The old token is revoked when no credential of the old
//!   token is in use any more.
//! - A server may check, at each renewal of a token, whether the service-account token of the login is still valid (OpenBao ≥
//!   2.6.4 and 2.7.1, with the kubernetes method). So the sidecar logs in again before the service-account token expires
//!   ([`Proof`]), as soon as a newer service-account token exists. A client token whose renewal is denied is replaced at once,
//!   by one login.
//! - A replaced token is revoked a little after its last lease was replaced: a program that has just read the old credential
//!   may still use that credential.
//! - Where the app has the client token as well, a replaced token is not revoked: it expires.
//! - Every request that may make a new credential needs a [`Permit`] of the [`limiter`].
//! - Leases and certificates that were made together are renewed or replaced at different times, about a second apart, so some of
//!   them at less than two thirds of their TTL. Leases that end with their token are replaced in half a second for each of them.
//! - A server that is unavailable gets no request for some time. A server that answers 429 gets one request at a time, with a gap
//!   that depends on its answers ([`pace`]), and the renewals and replacements come first. After other failures only the failed
//!   request is retried, with a growing pause; also after a request without an answer, if the server answers other requests.
//!   The files stay unchanged meanwhile.
//! - Secrets without a lease take turns, so that no secret waits for a secret that always fails.
//! - If a read was allowed before and is denied now, the sidecar logs in once: the token may be gone, or the policies of its
//!   role may have changed. If the login does not help, the denied read is a failure like others.
//! - A change restarts the containers where the plan says so, at most once in max(60 s, 4 intervals) ([`restart`]).
//! - Work that was missed while the machine was suspended, or while the server was unavailable, is done once.

mod answers;
mod due;
mod freshness;
mod limiter;
mod numbers;
mod pace;
mod restart;
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
pub(crate) use self::restart::Restarts;
pub(crate) use self::secrets::SecretFreshness;
pub(crate) use self::work::{Work, WorkFailure};

use self::limiter::{FLOOR, Limiter};
use self::pace::{Backoff, CAP, Need, Pace};
use self::secrets::{ScheduledSecret, SecretValidity};
use self::term::{LONGEST, Term};
use self::tokens::{CurrentToken, ReplacedToken};

/// The shortest time between two tries of one piece of work.
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
    /// The app holds the tokens as well, see [`Self::leave_replaced_tokens`].
    leaves_replaced: bool,
    /// How many logins succeeded.
    logins: u32,
    login: Retry,
    secrets: Vec<ScheduledSecret>,
    /// All secrets, in the order of the next read: a secret that was requested goes to the end.
    read_order: Vec<SecretIndex>,
    /// How many leases were renewed, or secrets with an end read, since the last read of secrets without a lease.
    before_a_read: u32,
    /// When all static secrets are read next.
    next_round: Duration,
    /// The time of the last call of [`Schedule::due`], when the request was sent. The TTL in an answer counts from this time.
    asked: Duration,
}

/// The tries of one request.
#[derive(Debug, Clone, Copy, Default)]
struct Retry {
    /// Failures in a row.
    failures: u32,
    /// The request is not sent before this time.
    next: Duration,
}

impl Schedule {
    /// `token` is the token of the handover, with the default number. Without a token the leases in `secrets` count as lost, but
    /// the limiter still counts their past reads. A secret whose past is not known is `None`.
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
            leaves_replaced: false,
            logins: 0,
            login: Retry::default(),
            secrets: secrets.iter().map(|_| ScheduledSecret::unread()).collect(),
            read_order: (0..secrets.len()).map(SecretIndex).collect(),
            before_a_read: 0,
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

    /// The app has the client token, and may have leases of its own that end with the token: a replaced token is not revoked.
    /// [`Self::keeps`] it until it expires.
    pub(crate) fn leave_replaced_tokens(&mut self) {
        self.leaves_replaced = true;
    }

    /// Takes over an answer that an earlier process obtained.
    fn take_over(&mut self, index: SecretIndex, now: Duration, age: Duration, lifetime: Lifetime) {
        self.learn(index, now, age, lifetime);
        self.limiter.older(index, age);
        let secret = &mut self.secrets[index.0];
        if matches!(secret.validity, SecretValidity::Unknown) {
            secret.retry.next = self.next_round + FLOOR;
        }
    }

    /// The token is lost, and with the token all leases. Certificates stay valid; all other secrets are read again.
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

    /// The retry after one more failure. `end`: the end of the token or lease; the retry is sooner near that end.
    fn again(&mut self, retry: Retry, now: Duration, end: Option<Duration>) -> Retry {
        let failures = retry.failures + 1;
        Retry {
            failures,
            next: now + self.backoff.pause(failures, now, end, &mut self.rng),
        }
    }

    /// Records whether the server is available. `failure`: the failure of the last request, if any.
    fn answered(&mut self, now: Duration, failure: Option<&WorkFailure>) {
        let need = self.need(now);
        match failure {
            Some(WorkFailure::Unavailable) => {
                let end = self.next_end(now);
                self.pace.unavailable(now, end, &mut self.rng);
            }
            Some(WorkFailure::Throttled(asked)) => self.pace.throttled(now, *asked, need, &mut self.rng),
            _ => self.pace.answered(now, need, &mut self.rng),
        }
    }

    /// What the pace must leave room for under a quota.
    fn need(&mut self, now: Duration) -> Need {
        let reads = self.secrets.iter().filter(|secret| secret.validity.term().is_none());
        let reads = u32::try_from(reads.count()).unwrap_or(u32::MAX).max(1);
        Need {
            spacing: (self.interval / reads).max(Duration::from_millis(1)),
            latest: self.latest(now),
        }
    }

    /// The latest time of the next request that leaves time for all renewals and replacements. They come in the order in which they
    /// must be done, and each may need two tries. For a single one: after a quarter of the time from its first try to its end. If a
    /// token, a lease or a certificate has ended already, the next request is at most a random half to all of [`CAP`] away: the
    /// tokens of many pods may have ended together.
    fn latest(&mut self, now: Duration) -> Duration {
        let (ended, ends): (Vec<_>, Vec<_>) = self.terms().partition(|(_, end)| *end <= now);
        let mut ends: Vec<_> = ends
            .into_iter()
            .map(|(term, end)| term.first_and_last_try(now, end))
            .collect();
        ends.sort_unstable_by_key(|(_, last)| *last);
        let room = ends.iter().zip(2_u32..).map(|((first, last), place)| {
            let first = now.max(*first);
            first + last.saturating_sub(first) / (2 * place)
        });
        let latest = room.min().unwrap_or(Duration::MAX);
        match ended.is_empty() && self.token.is_some() {
            true => latest,
            false => latest.min(now + CAP.mul_f64(0.5 + self.rng.f64() / 2.0)),
        }
    }

    /// The terms of the token, of each lease and of each certificate, and when each of them ends.
    fn terms(&self) -> impl Iterator<Item = (&Term, Duration)> {
        let token = self.token.iter().map(|token| (&token.term, token.term.end));
        let secrets = self.secrets.iter().filter_map(|secret| match &secret.validity {
            SecretValidity::Lease(term, with) => Some((term, self.lease_end(term, *with))),
            validity => validity.term().map(|term| (term, term.end)),
        });
        token.chain(secrets)
    }

    /// The earliest end of the pod's token, leases and certificates.
    fn next_end(&self, now: Duration) -> Option<Duration> {
        self.terms().map(|(_, end)| end).filter(|end| *end > now).min()
    }

    /// 90 to 99 per cent of the interval: the read and the change of the files take time too.
    fn jittered_interval(&mut self) -> Duration {
        self.interval.mul_f64(0.9 + 0.09 * self.rng.f64())
    }
}
