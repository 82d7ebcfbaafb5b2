//! How long a token or a secret is valid, by the server's answers.

use std::time::Duration;

/// The validity and the rights of a token, from the answer to a login or a renewal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    /// The TTL. Zero after a login: the token never ends, such as a root token
    /// (<https://developer.hashicorp.com/vault/docs/concepts/tokens>).
    pub(crate) ttl: Duration,
    /// Whether the token can be renewed. Batch tokens cannot.
    pub(crate) renewable: bool,
    /// How many requests the token allows; 0 means any number.
    pub(crate) uses: u64,
    /// The validity of the login's service-account token, if renewals may depend on that token. None after a renewal: the
    /// answer to a renewal has no such fact.
    pub(crate) proof: Option<Proof>,
}

/// The validity of the service-account token of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    /// The time until the token expires.
    pub(crate) left: Duration,
    /// The time from the token's issue to its expiry.
    pub(crate) life: Duration,
}

/// How long the answer to a read is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Valid until somebody changes the secret: the answer to a read had no lease.
    Static,
    /// The secret has a lease. With a TTL of zero the lease lasts as long as its token.
    Lease { ttl: Duration, renewable: bool },
    /// The secret expires and cannot be renewed: a certificate.
    Ends { ttl: Duration },
    /// Not known: a write made the secret; or the secret did not exist so far, and may be of any kind.
    Unknown,
}

/// An answer that an earlier process obtained: init, or this sidecar before its restart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Obtained<T> {
    pub(crate) answer: T,
    /// How long ago the request was sent.
    pub(crate) age: Duration,
}
