//! The secrets to keep fresh: what each answer says about one of them, and when it is read next.

use std::time::Duration;

use super::limiter::FLOOR;
use super::term::{LONGEST, Term};
use super::{LEAST, Lifetime, Retry, Schedule, SecretIndex, TokenNumber, WorkFailure};

/// A token is not revoked for this time after its last lease was replaced, or for half of its remaining life.
const GRACE: Duration = Duration::from_secs(30);
/// A read that stays denied is tried with a new token again after this time: new policies of a role are in new tokens only.
const LOGIN_FOR_DENIED: Duration = Duration::from_secs(3600);

/// What is known of a secret.
#[derive(Debug)]
pub(super) struct ScheduledSecret {
    pub(super) validity: SecretValidity,
    /// The tries to read it.
    pub(super) retry: Retry,
    /// The tries to renew its lease.
    pub(super) renewals: Retry,
    pub(super) freshness: SecretFreshness,
    /// A read of it has made a credential that ends: it needs a permit from then on.
    makes_credentials: bool,
}

/// Whether the pod has a secret as the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretFreshness {
    /// As the server had it at the last time that the secret was due.
    Fresh,
    /// Older: the last try failed, or there was no try yet, or none when the secret was due.
    Stale,
    /// The last read was denied.
    Denied,
    /// The server has no such secret any more.
    Gone,
    /// The credential in the pod has expired.
    Expired,
}

/// How long the secret that the pod has is valid.
#[derive(Debug)]
pub(super) enum SecretValidity {
    Static,
    Unknown,
    Ends(Term),
    /// With the token that made the lease.
    Lease(Term, TokenNumber),
}

impl ScheduledSecret {
    pub(super) fn unread() -> Self {
        Self {
            validity: SecretValidity::Unknown,
            retry: Retry::default(),
            renewals: Retry::default(),
            freshness: SecretFreshness::Stale,
            makes_credentials: false,
        }
    }
}

impl Schedule {
    /// The result of reading each of these secrets, once the files are as the answers say.
    pub(crate) fn read(&mut self, now: Duration, results: &[(SecretIndex, Result<Lifetime, WorkFailure>)]) {
        let age = now.saturating_sub(self.asked);
        // A server that answers some requests is available.
        let answers = results
            .iter()
            .any(|(_, result)| result.as_ref().err().is_none_or(|failure| !failure.is_of_server()));
        for (index, result) in results {
            self.read_order.retain(|other| other != index);
            self.read_order.push(*index);
            match *result {
                Ok(lifetime) => self.learn(*index, now, age, lifetime),
                Err(WorkFailure::Unavailable) if answers => self.read_failed(*index, now, WorkFailure::Failed),
                Err(failure) => self.read_failed(*index, now, failure),
            }
        }
        // After the answers were taken in: a pause ends before a lease does.
        let failures = || results.iter().filter_map(|(_, result)| result.as_ref().err());
        let throttled = failures().find(|failure| matches!(failure, WorkFailure::Throttled(_)));
        let unavailable = failures().find(|failure| **failure == WorkFailure::Unavailable && !answers);
        self.answered(now, throttled.or(unavailable));
    }

    /// These secrets were handed out to be read and not requested, because the server was unavailable for one before them. They
    /// are due as before.
    pub(crate) fn not_requested(&mut self, indices: &[SecretIndex]) {
        for index in indices {
            if let Some(secret) = self.secrets.get_mut(index.0) {
                secret.retry.next = self.asked;
            }
        }
    }

    /// The result of renewing a lease.
    pub(crate) fn lease_renewed(&mut self, now: Duration, index: SecretIndex, result: Result<Lifetime, WorkFailure>) {
        self.answered(now, result.as_ref().err());
        let age = now.saturating_sub(self.asked);
        let Some(secret) = self.secrets.get_mut(index.0) else {
            return;
        };
        let SecretValidity::Lease(term, _) = &mut secret.validity else {
            return;
        };
        match result {
            Ok(lifetime) => {
                let (ttl, renewable) = match lifetime {
                    Lifetime::Lease { ttl, renewable } => (ttl, renewable),
                    _ => (Duration::ZERO, false),
                };
                secret.renewals = Retry::default();
                secret.retry.failures = 0;
                secret.freshness = SecretFreshness::Fresh;
                term.renewed(now, age, ttl, renewable, &mut self.rng);
            }
            Err(WorkFailure::Unavailable | WorkFailure::Throttled(_)) => {}
            Err(WorkFailure::Gone) => {
                term.end = now;
                term.give_up(now);
            }
            // The token is gone, or may not renew leases. The read will show which.
            Err(WorkFailure::Denied) => term.give_up(now),
            Err(WorkFailure::Failed) => {
                let (renewals, end) = (secret.renewals, term.end);
                self.secrets[index.0].renewals = self.again(renewals, now, Some(end));
            }
        }
    }

    /// From when a secret may be read, by what is known of it.
    pub(super) fn readable_at(&self, index: SecretIndex, secret: &ScheduledSecret) -> Duration {
        match secret.validity {
            SecretValidity::Static => secret.retry.next,
            _ => secret.retry.next.max(self.limiter.free(index)),
        }
    }

    /// Takes in an answer to a request that was sent `age` ago.
    pub(super) fn learn(&mut self, index: SecretIndex, now: Duration, age: Duration, lifetime: Lifetime) {
        let next = (now + self.jittered_interval().saturating_sub(age)).max(now + LEAST);
        if self.next_round <= now {
            self.next_round = next;
        }
        let lifetime = self.with_ttl(now, age, lifetime);
        self.put_off_revocation(index, now);
        let Some(secret) = self.secrets.get_mut(index.0) else {
            return;
        };
        secret.makes_credentials |= matches!(lifetime, Lifetime::Lease { .. } | Lifetime::Ends { .. });
        secret.freshness = SecretFreshness::Fresh;
        secret.renewals = Retry::default();
        secret.retry = Retry {
            failures: 0,
            next: now + LEAST,
        };
        let (number, left) = match &self.token {
            Some(token) => (token.number, token.term.end.saturating_sub(now)),
            None => (TokenNumber::default(), Duration::MAX),
        };
        let mut made = Duration::ZERO;
        secret.validity = match lifetime {
            Lifetime::Static if !secret.makes_credentials => {
                secret.retry.next = self.next_round;
                SecretValidity::Static
            }
            Lifetime::Lease { ttl, renewable } if !ttl.is_zero() => {
                // The lease ends with its token.
                made = ttl.min(left.saturating_add(age));
                SecretValidity::Lease(Term::new(now, age, ttl, renewable, &mut self.rng), number)
            }
            Lifetime::Ends { ttl } if !ttl.is_zero() => {
                made = ttl;
                SecretValidity::Ends(Term::new(now, age, ttl, false, &mut self.rng))
            }
            _ => {
                secret.retry.next = next.max(now + FLOOR.mul_f64(1.0 + 0.2 * self.rng.f64()));
                SecretValidity::Unknown
            }
        };
        if !matches!(secret.validity, SecretValidity::Static) {
            self.limiter.made(index, now, made.min(LONGEST));
        }
    }

    /// A lease without a TTL of its own lasts as long as its token.
    fn with_ttl(&self, now: Duration, age: Duration, lifetime: Lifetime) -> Lifetime {
        match (lifetime, &self.token) {
            (Lifetime::Lease { ttl, .. }, Some(token)) if ttl.is_zero() => Lifetime::Lease {
                ttl: token.term.end.saturating_sub(now).saturating_add(age),
                renewable: false,
            },
            (lifetime, _) => lifetime,
        }
    }

    /// This secret's lease is being replaced, perhaps the last one of a replaced token: a program that has just read the file may
    /// log in with the old credential a moment later.
    fn put_off_revocation(&mut self, index: SecretIndex, now: Duration) {
        if let Some(SecretValidity::Lease(_, with)) = self.secrets.get(index.0).map(|secret| &secret.validity)
            && let Some(replaced) = self.replaced.iter_mut().find(|token| token.number == *with)
        {
            let grace = GRACE.min(replaced.end.saturating_sub(now) / 2);
            replaced.next = replaced.next.max(now + grace);
        }
    }

    fn read_failed(&mut self, index: SecretIndex, now: Duration, failure: WorkFailure) {
        let interval = self.jittered_interval();
        let Some(secret) = self.secrets.get_mut(index.0) else {
            return;
        };
        let end = match &secret.validity {
            SecretValidity::Lease(term, _) | SecretValidity::Ends(term) => Some(term.end),
            SecretValidity::Static | SecretValidity::Unknown => None,
        };
        let was_denied = secret.freshness == SecretFreshness::Denied;
        secret.freshness = match failure {
            WorkFailure::Denied => SecretFreshness::Denied,
            WorkFailure::Gone => SecretFreshness::Gone,
            // An unavailable server says nothing new about the secret.
            failure if failure.is_of_server() && secret.freshness != SecretFreshness::Fresh => secret.freshness,
            _ => SecretFreshness::Stale,
        };
        let retry = secret.retry;
        let retry = match failure {
            WorkFailure::Unavailable | WorkFailure::Throttled(_) => return,
            // An answer like others, where nothing ends meanwhile.
            WorkFailure::Gone if end.is_none() => Retry {
                failures: 0,
                next: match secret.validity {
                    SecretValidity::Static => self.next_round,
                    _ => now + interval.max(LEAST),
                },
            },
            WorkFailure::Denied => {
                // The token is renewed as before until the login: the login may fail.
                if let Some(token) = &mut self.token
                    && (!was_denied || now.saturating_sub(token.since) >= LOGIN_FOR_DENIED)
                {
                    token.term.replace = now;
                }
                self.again(retry, now, end)
            }
            WorkFailure::Gone | WorkFailure::Failed => self.again(retry, now, end),
        };
        if let Some(secret) = self.secrets.get_mut(index.0) {
            secret.retry = retry;
        }
    }
}
