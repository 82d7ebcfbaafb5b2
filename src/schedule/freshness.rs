//! Whether a secret is fresh, as the sidecar reports it to people.

use std::time::Duration;

use super::{Schedule, SecretIndex, Validity};

/// Whether the pod has a secret as the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
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

impl Schedule {
    /// The secret's freshness.
    pub(crate) fn freshness(&self, index: SecretIndex, now: Duration) -> Freshness {
        let Some(secret) = self.secrets.get(index.0) else {
            return Freshness::Stale;
        };
        match &secret.validity {
            Validity::Lease(term, with) if self.lease_end(term, *with) <= now => Freshness::Expired,
            Validity::Ends(term) if term.end <= now => Freshness::Expired,
            // The read is due and does not come, perhaps for long: the server is unavailable, or refuses the login.
            Validity::Static | Validity::Unknown
                if secret.freshness == Freshness::Fresh && self.readable_at(index, secret) <= self.asked =>
            {
                Freshness::Stale
            }
            _ => secret.freshness,
        }
    }

    /// How long a lease lasts, counted from its request or its last renewal: until its own end or that of its token, whichever
    /// comes first. None: the secret has no lease.
    pub(crate) fn lease_duration(&self, index: SecretIndex) -> Option<Duration> {
        match &self.secrets.get(index.0)?.validity {
            Validity::Lease(term, with) => Some(self.lease_end(term, *with).saturating_sub(term.since)),
            Validity::Static | Validity::Unknown | Validity::Ends(_) => None,
        }
    }

    /// When the freshness of a secret gets worse next, if no work is done until then.
    pub(crate) fn worsens(&self) -> Option<Duration> {
        let all = self.secrets.iter().enumerate();
        let all = all.filter_map(|(index, secret)| match &secret.validity {
            Validity::Lease(term, with) => Some(self.lease_end(term, *with)),
            Validity::Ends(term) => Some(term.end),
            Validity::Static | Validity::Unknown if secret.freshness == Freshness::Fresh => {
                Some(self.readable_at(SecretIndex(index), secret))
            }
            Validity::Static | Validity::Unknown => None,
        });
        all.filter(|at| *at > self.asked).min()
    }
}
