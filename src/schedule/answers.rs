//! What the server's answers say about how long a token or a secret is valid.

use std::time::Duration;

/// How long a token is valid and what it may do, as a login or a renewal says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    /// After a login, zero is a token that never ends, such as a root token
    /// (<https://developer.hashicorp.com/vault/docs/concepts/tokens>).
    pub(crate) ttl: Duration,
    /// Batch tokens are not renewable.
    pub(crate) renewable: bool,
    /// How many requests the token is good for; 0 means any number.
    pub(crate) uses: u64,
    /// The service-account token of the login, where a renewal may need it. A renewal's answer does not mention it.
    pub(crate) proof: Option<Proof>,
}

/// How long the service-account token is valid that a login was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    /// From now on.
    pub(crate) left: Duration,
    /// From its issue to its expiry.
    pub(crate) life: Duration,
}

/// How long the answer to a read is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Until somebody changes the secret: a plain read that came without a lease.
    Static,
    /// The secret has a lease. With a TTL of zero the lease lasts as long as its token.
    Lease { ttl: Duration, renewable: bool },
    /// The secret expires and cannot be renewed: a certificate.
    Ends { ttl: Duration },
    /// Nothing says how long: the secret was made by a write, or did not exist so far and may be of any kind.
    Unknown,
}

/// An answer that was obtained before: by init, or by this sidecar before it was restarted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Obtained<T> {
    pub(crate) answer: T,
    /// How long ago the request was sent.
    pub(crate) age: Duration,
}
