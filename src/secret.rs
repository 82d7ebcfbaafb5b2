//! Secret values: bytes that are wiped when dropped and never printed; and the lease of a secret.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

/// Secret bytes: a client token, a service-account token, a rendered file. Wiped on drop. `Debug` shows only the length, and there is
/// no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The bytes themselves. The caller must not put them into a message or a log.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.len())
    }
}

/// The lease of a secret, as the server reports it. Durations count from the server's answer.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The server's id of the lease. A lease with an id ends when its client token is revoked. Without an id, the secret (a
    /// certificate) contains its expiry, and ends only then. The id is not secret, but useless in a log.
    pub(crate) id: Option<String>,
    /// The TTL.
    pub(crate) duration: Duration,
    /// Whether the lease can be renewed.
    pub(crate) renewable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_secret() {
        let secret = Secret::from(b"canary".to_vec());
        let shown = format!("{secret:?}");
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(secret.expose(), b"canary");
    }
}
