//! The secrets to keep fresh: how each answer changes a secret's state, and when the secret is read next.

use std::time::Duration;

use super::limiter::FLOOR;
use super::term::{LONGEST, Term};
use super::{LEAST, Lifetime, Retry, Schedule, SecretIndex, TokenNumber, WorkFailure};

/// The time from the replacement of a token's last lease to the revocation of the token. At most half of the token's
/// remaining life.
const GRACE: Duration = Duration::from_secs(30);
/// While a read stays denied, the sidecar logs in again after this time: only new tokens have the new policies of a role.
const LOGIN_FOR_DENIED: Duration = Duration::from_secs(3600);

/// The state of a secret.
#[derive(Debug)]
pub(super) struct ScheduledSecret {
    pub(super) validity: SecretValidity,
    /// The tries to read the secret.
    pub(super) retry: Retry,
    /// The tries to renew the lease.
    pub(super) renewals: Retry,
    pub(super) freshness: SecretFreshness,
    /// A read has made a credential that ends, so every further read needs a permit.
    makes_credentials: bool,
}

/// Whether the pod's copy of a secret is the server's current version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretFreshness {
    /// The last read or renewal that was due has succeeded.
    Fresh,
    /// Possibly old: the last try failed, or no try was made yet, or none was made when the secret was due.
    Stale,
    /// The last read was denied.
    Denied,
    /// The server has no such secret any more.
    Gone,
    /// The credential in the pod has expired.
    Expired,
}

/// How long the pod's copy of the secret is valid.
#[derive(Debug)]
pub(super) enum SecretValidity {
    Static,
    Unknown,
    Ends(Term),
    /// The lease, with the number of the token that made the lease.
    Lease(Term, TokenNumber),
}

impl SecretValidity {
    pub(super) fn term(&self) -> Option<&Term> {
        match self {
            Self::Static | Self::Unknown => None,
            Self::Ends(term) | Self::Lease(term, _) => Some(term),
        }
    }

    fn term_mut(&mut self) -> Option<&mut Term> {
        match self {
            Self::Static | Self::Unknown => None,
            Self::Ends(term) | Self::Lease(term, _) => Some(term),
        }
    }
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
    /// The result of reading each of these secrets. The caller has written the new values into the files before.
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
        // After `learn` and `read_failed`, because the pause depends on the ends of the leases.
        let failures = || results.iter().filter_map(|(_, result)| result.as_ref().err());
        let throttled = failures().find(|failure| matches!(failure, WorkFailure::Throttled(_)));
        let unavailable = failures().find(|failure| **failure == WorkFailure::Unavailable && !answers);
        self.answered(now, throttled.or(unavailable));
    }

    /// The read of these secrets was handed out, but no request was sent, because the server was unavailable or throttled the
    /// request before. The secrets are still due.
    pub(crate) fn not_requested(&mut self, indices: &[SecretIndex]) {
        for index in indices {
            if let Some(secret) = self.secrets.get_mut(index.0) {
                secret.retry.next = self.asked;
            }
        }
    }

    /// The result of renewing a lease.
    pub(crate) fn lease_renewed(&mut self, now: Duration, index: SecretIndex, result: Result<Lifetime, WorkFailure>) {
        let failure = result.err();
        self.learn_renewal(now, index, result);
        // The pause depends on the ends of the leases.
        self.answered(now, failure.as_ref());
    }

    fn learn_renewal(&mut self, now: Duration, index: SecretIndex, result: Result<Lifetime, WorkFailure>) {
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
                self.spread(now, index);
            }
            Err(WorkFailure::Unavailable | WorkFailure::Throttled(_)) => {}
            Err(WorkFailure::Gone) => {
                term.end = now;
                term.give_up(now);
            }
            // Either the token is gone, or the token may not renew leases. The next read shows which is true.
            Err(WorkFailure::Denied) => term.give_up(now),
            Err(WorkFailure::Failed) => {
                let (renewals, end) = (secret.renewals, term.end);
                self.secrets[index.0].renewals = self.again(renewals, now, Some(end));
            }
        }
    }

    /// The time from which a secret may be read.
    pub(super) fn readable_at(&self, index: SecretIndex, secret: &ScheduledSecret) -> Duration {
        match secret.validity {
            SecretValidity::Static => secret.retry.next,
            _ => secret.retry.next.max(self.limiter.free(index)),
        }
    }

    /// Records the answer to a request that was sent `age` ago.
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
                secret.retry.next = if self.pace.is_limited(now) {
                    next
                } else {
                    self.next_round
                };
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
        self.spread(now, index);
        if !matches!(self.secrets[index.0].validity, SecretValidity::Static) {
            self.limiter.made(index, now, made.min(LONGEST));
        }
    }

    /// Moves the next try of a lease or certificate away from those of the pod's other secrets.
    fn spread(&mut self, now: Duration, index: SecretIndex) {
        let others = self.secrets.iter().enumerate().filter(|(other, _)| *other != index.0);
        let others: Vec<_> = others
            .filter_map(|(_, secret)| Some(secret.validity.term()?.first_try()))
            .collect();
        if let Some(term) = self
            .secrets
            .get_mut(index.0)
            .and_then(|secret| secret.validity.term_mut())
            && !others.is_empty()
        {
            term.spread(now, &others, &mut self.rng);
        }
    }

    /// Gives a lease without a TTL the remaining life of its token.
    fn with_ttl(&self, now: Duration, age: Duration, lifetime: Lifetime) -> Lifetime {
        match (lifetime, &self.token) {
            (Lifetime::Lease { ttl, .. }, Some(token)) if ttl.is_zero() => Lifetime::Lease {
                ttl: token.term.end.saturating_sub(now).saturating_add(age),
                renewable: false,
            },
            (lifetime, _) => lifetime,
        }
    }

    /// Delays the revocation of the replaced token whose lease is replaced here, perhaps its last lease: a program that has just
    /// read the file may log in with the old credential a moment later.
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
            // The failure of an unavailable server shows nothing new about the secret.
            failure if failure.is_of_server() && secret.freshness != SecretFreshness::Fresh => secret.freshness,
            _ => SecretFreshness::Stale,
        };
        let retry = secret.retry;
        let retry = match failure {
            WorkFailure::Unavailable | WorkFailure::Throttled(_) => return,
            // Without a lease or certificate that ends, a 404 is not an error to retry: the next read is in the next interval.
            WorkFailure::Gone if end.is_none() => Retry {
                failures: 0,
                next: match secret.validity {
                    SecretValidity::Static if !self.pace.is_limited(now) => self.next_round,
                    _ => now + interval.max(LEAST),
                },
            },
            WorkFailure::Denied => {
                // Only `replace` changes: the old token is still renewed, because the login may fail.
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
