//! Errors of requests to Vault: what happened and what to do, for the person who has to repair it. No error holds a body,
//! a token or a secret; what the server wrote is escaped and cut.

use std::time::Duration;

use crate::http::{RetryError, TrustError};

/// The kind of failure; the agent makes its exit code of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VaultErrorKind {
    /// The pod's own set-up is wrong, such as no service-account token to log in with.
    Setup,
    /// There is no such path or version.
    NotFound,
    /// No engine or auth method is mounted there. That may be true of one node only, and for a moment: it says nothing about
    /// the secret.
    NoEngine,
    /// The path exists, but cannot be read (or written).
    NotReadable,
    /// The server cannot be reached, is sealed, not initialised or failing.
    Unavailable,
    /// The server is there, and failed at this request.
    Failing,
    /// The rate of requests is limited.
    RateLimited,
    /// Vault and OpenBao do not give such an answer.
    NotVault,
    /// The server refused this client.
    Denied,
    /// The server refused this request, whoever the client is.
    Refused,
    /// The server's certificate is not trusted, or there are no authorities to verify it by.
    Trust,
}

impl VaultErrorKind {
    /// Whether there is nothing at the path, which `ignore-not-found` skips.
    pub(crate) fn is_missing(self) -> bool {
        matches!(self, Self::NotFound | Self::NoEngine)
    }

    /// Whether the failure is about the path: the server may answer a request for another path.
    pub(super) fn is_of_one_path(self) -> bool {
        match self {
            Self::NotFound
            | Self::NoEngine
            | Self::NotReadable
            | Self::Failing
            | Self::NotVault
            | Self::Denied
            | Self::Refused => true,
            Self::Setup | Self::Unavailable | Self::RateLimited | Self::Trust => false,
        }
    }
}

/// Why a request failed for good, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct VaultError {
    pub(crate) kind: VaultErrorKind,
    /// What happened, lower case, no final dot.
    pub(crate) message: String,
    /// What to do. May be empty.
    pub(crate) hint: String,
    /// The server's `Retry-After`, for a caller that has its own schedule.
    pub(crate) retry_after: Option<Duration>,
    /// The server may know more about the reason, see `explain`.
    pub(super) explainable: bool,
}

impl VaultError {
    pub(crate) fn new(kind: VaultErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: hint.into(),
            retry_after: None,
            explainable: false,
        }
    }

    /// The same error, with [`Self::explainable`] set.
    pub(super) fn explainable(self) -> Self {
        Self {
            explainable: true,
            ..self
        }
    }
}

impl RetryError for VaultError {
    fn is_same_kind(&self, other: &Self) -> bool {
        self.kind == other.kind
    }

    fn message(&self) -> &str {
        &self.message
    }

    fn with_retry_after(self, wait: Option<Duration>) -> Self {
        Self {
            retry_after: wait,
            ..self
        }
    }

    fn no_answer(message: String, hint: &str) -> Self {
        Self::new(VaultErrorKind::Unavailable, message, hint)
    }
}

impl From<TrustError> for VaultError {
    fn from(error: TrustError) -> Self {
        let hint = match error {
            TrustError::Name(_) => "set tlsServerName of the connection",
            TrustError::NoBundle | TrustError::UnreadableBundle(..) => "set caFile of the connection",
            TrustError::Certificates(_) => "it must hold PEM certificates of authorities",
            TrustError::Library => "this is a fault of podkey: please report it",
        };
        Self::new(VaultErrorKind::Trust, error.to_string(), hint)
    }
}
