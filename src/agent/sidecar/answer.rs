//! The server's answers as the sidecar takes them in: a secret, or that there is none.

use crate::plan::ApiPath;
use crate::secret::Secret;
use crate::vault::{Reading, VaultError, VaultErrorKind};

/// What the server says about a secret.
pub(super) enum ServerAnswer {
    Secret(Reading),
    /// There is no such secret.
    Missing(VaultError),
}

/// The answers for a secret that a template combines with another one.
#[derive(Default)]
pub(super) struct CombinedSecret {
    /// The answer that the files show. None: this process does not know it.
    pub(super) shown: Option<ServerAnswer>,
    /// A newer answer, which no file shows yet.
    pub(super) newer: Option<ServerAnswer>,
}

impl ServerAnswer {
    /// The answer that `init` handed over. `body` is None if the secret did not exist. The result is None if the body is not an
    /// answer of the server.
    pub(super) fn handed_over(body: Option<&Secret>, path: &ApiPath) -> Option<Self> {
        match body {
            Some(body) => Reading::handed_over(body.expose(), path).map(Self::Secret),
            None => {
                let message = format!("the secret {path} was missing when the pod started");
                Some(Self::Missing(VaultError::new(VaultErrorKind::NotFound, message, "")))
            }
        }
    }

    /// The answer, and the result of the read without the answer. No answer: the server did not say whether there is a secret.
    pub(super) fn of(result: Result<Reading, VaultError>) -> (Option<Self>, Result<(), VaultError>) {
        match result {
            Ok(reading) => (Some(Self::Secret(reading)), Ok(())),
            Err(error) if error.kind == VaultErrorKind::NotFound => (Some(Self::Missing(error.clone())), Err(error)),
            Err(error) => (None, Err(error)),
        }
    }
}
