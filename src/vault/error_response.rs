//! What an answer that is no success says, as far as the classification needs it.

use std::time::Duration;

use crate::http::ResponseHead;

/// An answer that is no success.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ErrorResponse {
    pub(super) head: ResponseHead,
    /// The server's `errors`, each escaped and cut.
    pub(super) errors: Vec<String>,
    /// The server's `warnings`, each escaped and cut.
    pub(super) warnings: Vec<String>,
    /// The header `Retry-After`, where it is a number of seconds.
    pub(super) retry_after: Option<Duration>,
    /// The body is one of Vault's API. Where it is not, something in front of the server has answered, and the status says
    /// nothing about the secret.
    pub(super) from_vault: bool,
    /// The KV v2 version that the answer is about, if that version was deleted or destroyed.
    pub(super) gone: Option<GoneVersion>,
    /// The server refused the login that went along with a read.
    pub(super) of_login: bool,
    /// What the answer means, where neither the status nor `errors` say so.
    pub(super) meaning: Option<Meaning>,
}

/// The meaning of an answer that neither its status nor its `errors` explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// podkey spoke clear text to a TLS port.
    WantsTls,
    /// A proxy that ends TLS speaks clear text to the server's TLS port.
    WantsTlsBehind,
    /// A proxy accepts only clients that have a certificate.
    WantsClientCertificate,
    /// This listener of the server serves only metrics.
    MetricsListener,
    /// The login needs a second factor, because of these enforcements.
    SecondFactor(Vec<String>),
    /// The request is for a version, and the engine has no versions.
    Unversioned,
}

/// A KV v2 version that was deleted or destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GoneVersion {
    pub(super) version: u64,
    /// The version cannot be undeleted.
    pub(super) destroyed: bool,
    /// When it was deleted, as the server wrote it. May be empty.
    pub(super) at: String,
}

impl ErrorResponse {
    /// Whether one of the server's errors contains the text.
    pub(super) fn says(&self, text: &str) -> bool {
        self.errors.iter().any(|error| error.contains(text))
    }

    /// Status and errors for a message, or status and content type where there are no errors.
    pub(super) fn words(&self) -> String {
        match self.errors.is_empty() {
            true => self.head.to_string(),
            false => format!("status {}: {}", self.head.status, self.errors.join("; ")),
        }
    }
}
