//! Whether a secret is fresh, as the sidecar reports it to people.

use std::time::Duration;

use super::{Schedule, SecretFreshness, SecretIndex, SecretValidity};

impl Schedule {
    /// The secret's freshness.
    pub(crate) fn freshness(&self, index: SecretIndex, now: Duration) -> SecretFreshness {
        let Some(secret) = self.secrets.get(index.0) else {
            return SecretFreshness::Stale;
        };
        match &secret.validity {
            SecretValidity::Lease(term, with) if self.lease_end(term, *with) <= now => SecretFreshness::Expired,
            SecretValidity::Ends(term) if term.end <= now => SecretFreshness::Expired,
            // The read is due but is not made, perhaps for a long time: the server is unavailable, or refuses the login.
            SecretValidity::Static | SecretValidity::Unknown
                if secret.freshness == SecretFreshness::Fresh && self.readable_at(index, secret) <= self.asked =>
            {
                SecretFreshness::Stale
            }
            _ => secret.freshness,
        }
    }

    /// The time from the request or the last renewal of a lease until the lease ends or its token ends, whichever is first.
    /// None: the secret has no lease.
    pub(crate) fn lease_duration(&self, index: SecretIndex) -> Option<Duration> {
        match &self.secrets.get(index.0)?.validity {
            SecretValidity::Lease(term, with) => Some(self.lease_end(term, *with).saturating_sub(term.since)),
            SecretValidity::Static | SecretValidity::Unknown | SecretValidity::Ends(_) => None,
        }
    }

    /// The next time at which a secret becomes stale or expires, if no work is done before.
    pub(crate) fn worsens(&self) -> Option<Duration> {
        let all = self.secrets.iter().enumerate();
        let all = all.filter_map(|(index, secret)| match &secret.validity {
            SecretValidity::Lease(term, with) => Some(self.lease_end(term, *with)),
            SecretValidity::Ends(term) => Some(term.end),
            SecretValidity::Static | SecretValidity::Unknown if secret.freshness == SecretFreshness::Fresh => {
                Some(self.readable_at(SecretIndex(index), secret))
            }
            SecretValidity::Static | SecretValidity::Unknown => None,
        });
        all.filter(|at| *at > self.asked).min()
    }
}
