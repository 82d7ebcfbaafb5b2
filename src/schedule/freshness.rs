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
            // The read is due and does not come, perhaps for long: the server is unavailable, or refuses the login.
            SecretValidity::Static | SecretValidity::Unknown
                if secret.freshness == SecretFreshness::Fresh && self.readable_at(index, secret) <= self.asked =>
            {
                SecretFreshness::Stale
            }
            _ => secret.freshness,
        }
    }

    /// How long a lease lasts, counted from its request or its last renewal: until its own end or that of its token, whichever
    /// comes first. None: the secret has no lease.
    pub(crate) fn lease_duration(&self, index: SecretIndex) -> Option<Duration> {
        match &self.secrets.get(index.0)?.validity {
            SecretValidity::Lease(term, with) => Some(self.lease_end(term, *with).saturating_sub(term.since)),
            SecretValidity::Static | SecretValidity::Unknown | SecretValidity::Ends(_) => None,
        }
    }

    /// When the freshness of a secret gets worse next, if no work is done until then.
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
