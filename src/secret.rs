//! Values that must not be seen: bytes that are wiped when dropped and never printed, and the lease a secret came with.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

/// Secret bytes: a client token, a service-account token, a rendered file. Wiped on drop; `Debug` shows the length only;
/// there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The bytes themselves. Whoever asks for them must not put them into a message or a log.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
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

/// How long a secret lives that ends by itself. All of it is the server's own word, counted from its answer.
#[derive(Debug)]
pub(crate) struct Lease {
    /// What the server knows it by: with it, revoking the client token that made it ends the secret at once. Without it the
    /// secret tells its end itself (a certificate), and nothing but the passing of time ends it. No secret, and of no use in
    /// a log.
    pub(crate) id: Option<String>,
    /// How long it lasts.
    pub(crate) duration: Duration,
    /// Whether it can be extended.
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
