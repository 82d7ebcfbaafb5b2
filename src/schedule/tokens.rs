//! The token in use, and the tokens that it has replaced: logins, renewals, revocations.

use std::time::Duration;

use super::term::{LONGEST, Term};
use super::{
    Grant, LEAST, Proof, Retry, Schedule, ScheduledSecret, SecretFreshness, SecretIndex, SecretValidity, TokenNumber,
    WorkFailure,
};

/// The shortest time between two logins, however short the TTL of the tokens is.
const BETWEEN_LOGINS: Duration = Duration::from_secs(10);
/// Pods that lost their tokens at one moment spread the reads of their leased secrets over at most this time.
const SPREAD: Duration = Duration::from_secs(300);
/// After a new login, the leased secrets of a pod are read over at least this time for each of them.
const APART: Duration = Duration::from_millis(500);

/// The token in use.
#[derive(Debug)]
pub(super) struct CurrentToken {
    pub(super) number: TokenNumber,
    /// The time of the answer to the login.
    pub(super) since: Duration,
    pub(super) term: Term,
    pub(super) retry: Retry,
    /// How many requests the token still allows, besides the request that revokes the token. None: any number.
    pub(super) uses: Option<u64>,
    /// The search for a newer service-account token. None: renewals do not depend on the service-account token.
    pub(super) relogin: Option<Relogin>,
}

/// The search for a newer service-account token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relogin {
    /// The next search.
    pub(super) next: Duration,
    /// When the service-account token of the last login expires.
    end: Duration,
    /// The whole life of that service-account token.
    life: Duration,
}

/// A token that a later login has replaced.
#[derive(Debug)]
pub(super) struct ReplacedToken {
    pub(super) number: TokenNumber,
    /// When the token expires without a revocation.
    pub(super) end: Duration,
    /// The token is not revoked before this time.
    pub(super) next: Duration,
}

impl CurrentToken {
    /// Whether the server still accepts the token.
    pub(super) fn is_valid(&self, now: Duration) -> bool {
        now < self.term.end && self.uses != Some(0)
    }
}

impl Schedule {
    /// The result of a login.
    pub(crate) fn logged_in(&mut self, now: Duration, result: Result<Grant, WorkFailure>) {
        // A token for one request is useless: podkey could either use the token or revoke it.
        let result = match result {
            Ok(grant) if grant.uses == 1 => Err(WorkFailure::Failed),
            result => result,
        };
        // A successful login does not show that the server is available; the next requests show that.
        if let Err(failure) = &result {
            self.answered(now, Some(failure));
        }
        match result {
            Ok(grant) => self.replace_token(now, grant),
            Err(failure) if failure.is_of_server() => {}
            Err(_) => {
                self.login = self.again(self.login, now, self.next_end(now));
            }
        }
    }

    fn replace_token(&mut self, now: Duration, grant: Grant) {
        self.logins += 1;
        self.login = Retry {
            failures: 0,
            next: now + BETWEEN_LOGINS,
        };
        let age = now.saturating_sub(self.asked);
        let token = self.new_token(TokenNumber(self.logins), now, age, grant);
        let old = self.token.replace(token);
        let is_leased = |secret: &&ScheduledSecret| matches!(secret.validity, SecretValidity::Lease(..));
        let leased = u32::try_from(self.secrets.iter().filter(is_leased).count()).unwrap_or(u32::MAX);
        let mut place = 0..leased;
        for (index, secret) in self.secrets.iter_mut().enumerate() {
            if secret.freshness == SecretFreshness::Denied {
                secret.retry.next = now;
            }
            let SecretValidity::Lease(term, with) = &mut secret.validity else {
                continue;
            };
            if let Some(old) = old.as_ref().filter(|old| old.number == *with) {
                term.end = term.end.min(old.term.end);
            }
            term.give_up(now);
            // Pods that lost their tokens at one moment must not all read as soon as the limiter allows, and one pod must not read all
            // its secrets in one second. But the read must be before the end of the lease in the pod.
            let wait = self.limiter.free(SecretIndex(index)).saturating_sub(now);
            let left = term.end.saturating_sub(now + wait);
            let most = if left.is_zero() {
                (wait / 10).min(SPREAD)
            } else {
                (wait / 10).max(APART * (leased - 1)).min(SPREAD).min(left / 2)
            };
            let place = f64::from(place.next().unwrap_or_default());
            let more = most.mul_f64((place + self.rng.f64()) / f64::from(leased));
            secret.retry.next = secret.retry.next.max(now + wait + more);
        }
        self.replaced.extend(old.map(|old| ReplacedToken {
            number: old.number,
            end: old.term.end,
            next: now,
        }));
    }

    /// There is no newer service-account token than that of the last login. The search becomes more frequent as that token nears
    /// its end, and is rare after its end.
    pub(crate) fn nothing_newer(&mut self, now: Duration) {
        if let Some(relogin) = self.token.as_mut().and_then(|token| token.relogin.as_mut()) {
            let pause = match relogin.end.checked_sub(now) {
                Some(left) if !left.is_zero() => left / 8,
                _ => relogin.life / 20,
            };
            relogin.next = now + pause.max(LEAST);
        }
    }

    /// The result of renewing the token.
    pub(crate) fn token_renewed(&mut self, now: Duration, result: Result<Grant, WorkFailure>) {
        let failure = result.err();
        self.learn_token_renewal(now, result);
        // The pause depends on the end of the token.
        self.answered(now, failure.as_ref());
    }

    fn learn_token_renewal(&mut self, now: Duration, result: Result<Grant, WorkFailure>) {
        let age = now.saturating_sub(self.asked);
        let Some(token) = &mut self.token else { return };
        match result {
            Ok(Grant { ttl, renewable, .. }) => {
                token.retry = Retry::default();
                token.term.renewed(now, age, ttl, renewable, &mut self.rng);
            }
            Err(WorkFailure::Unavailable | WorkFailure::Throttled(_)) => {}
            // The token is gone, or the server does not allow its renewal.
            Err(WorkFailure::Denied | WorkFailure::Gone) => token.term.give_up(now),
            Err(WorkFailure::Failed) => {
                let (retry, end) = (token.retry, token.term.end);
                let retry = self.again(retry, now, Some(end));
                if let Some(token) = &mut self.token {
                    token.retry = retry;
                }
            }
        }
    }

    /// The result of revoking a replaced token. Only an unavailable server or a 429 leads to a retry, and only until the token
    /// expires.
    pub(crate) fn revoked(&mut self, now: Duration, number: TokenNumber, result: Result<(), WorkFailure>) {
        self.answered(now, result.as_ref().err());
        if !result.is_err_and(WorkFailure::is_of_server) {
            self.replaced.retain(|token| token.number != number);
        }
    }

    /// Whether a token is still needed: for requests, for a lease in the pod, or for its own revocation.
    pub(crate) fn keeps(&self, number: TokenNumber) -> bool {
        let current = self.token.iter().map(|token| token.number);
        let mut all = current.chain(self.replaced.iter().map(|token| token.number));
        all.any(|kept| kept == number)
    }

    pub(super) fn new_token(
        &mut self,
        number: TokenNumber,
        now: Duration,
        age: Duration,
        grant: Grant,
    ) -> CurrentToken {
        let term = match grant.ttl {
            Duration::ZERO => Term::new(now, Duration::ZERO, LONGEST, false, &mut self.rng),
            ttl => Term::new(now, age, ttl, grant.renewable, &mut self.rng),
        };
        // The kubelet replaces a service-account token some time after four fifths of its life
        // (<https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken>).
        let relogin = grant.proof.map(|Proof { left, life }| {
            let (left, life) = (left.min(LONGEST), life.min(LONGEST));
            let before = life.mul_f64(0.10 + 0.04 * self.rng.f64());
            Relogin {
                next: now + left.saturating_sub(before).max(LEAST),
                end: now + left,
                life,
            }
        });
        CurrentToken {
            number,
            since: now,
            term,
            retry: Retry::default(),
            uses: grant.uses.checked_sub(1),
            relogin,
        }
    }

    /// Counts requests of the token in use. A token without uses left is replaced.
    pub(super) fn use_token(&mut self, requests: u64) {
        let Some(token) = &mut self.token else { return };
        if let Some(uses) = &mut token.uses {
            *uses = uses.saturating_sub(requests);
            if *uses == 0 {
                token.term.give_up(self.asked);
            }
        }
    }

    /// When a lease ends, at the latest with its token. For a lease of a replaced token, `term` already ends with that token.
    pub(super) fn lease_end(&self, term: &Term, with: TokenNumber) -> Duration {
        match &self.token {
            Some(token) if token.number == with => term.end.min(token.term.end),
            _ => term.end,
        }
    }

    /// Whether the pod still has a credential of this token. (A lease whose term is over here may still be valid on the server:
    /// the answer to a renewal may have been lost.)
    pub(super) fn is_in_use(&self, number: TokenNumber) -> bool {
        let mut all = self.secrets.iter().map(|secret| &secret.validity);
        all.any(|validity| matches!(validity, SecretValidity::Lease(_, with) if *with == number))
    }
}
