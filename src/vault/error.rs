//! What can go wrong with a server, in words for the person who has to mend it. No message holds a body, a token or a
//! secret; what the server said is escaped and cut.

use std::fmt;
use std::time::Duration;

use crate::text::is_printable;

/// What kind of failure it is; the agent makes its exit code of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The pod's own set-up is wrong: no service-account token to log in with.
    Setup,
    /// There is no such path or version.
    NotFound,
    /// No engine or auth method is mounted there, which may be true of one server only, and for a moment: nothing is said of
    /// the secret.
    NoEngine,
    /// The path is there, but it is none that can be read.
    NotReadable,
    /// Not reachable, sealed, not initialised, or failing, until the budget ran out.
    Unavailable,
    /// The server is there, and failed at this one request.
    Failing,
    /// Rate-limited until the budget ran out.
    RateLimited,
    /// The answer is none that Vault or OpenBao would give.
    NotVault,
    /// The server refused: who asks may not.
    Denied,
    /// The server refused this very request, whoever asks.
    Refused,
    /// The server's certificate is not to be trusted, or there is nothing to judge it by.
    Trust,
}

impl Kind {
    /// Whether nothing was found there, which `ignore-not-found` passes over.
    pub(crate) fn is_missing(self) -> bool {
        matches!(self, Self::NotFound | Self::NoEngine)
    }

    /// Whether the server said it of what was asked for, and may say something else of another path.
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

/// A failure that ends the run: what happened, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct VaultError {
    /// Its kind.
    pub kind: Kind,
    /// What happened, lower case, no final dot.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
    /// How long the server asks to be left alone, told where there is no second try.
    pub retry_after: Option<Duration>,
    /// Whether the server may know more of the reason than it said.
    pub(super) open: bool,
}

impl VaultError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: hint.into(),
            retry_after: None,
            open: false,
        }
    }

    /// One of which the server may know more.
    pub(super) fn open(self) -> Self {
        Self { open: true, ..self }
    }
}

/// Why no whole answer arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TransportError {
    /// The name did not resolve.
    Resolve(String),
    /// No address took the connection.
    Connect(String),
    /// The proxy in between gave no tunnel.
    Proxy(String),
    /// The server was there but the TLS handshake failed.
    Tls(TlsFailure),
    /// Nothing, or not everything, arrived in time.
    TimedOut(&'static str, Duration),
    /// The connection ended before the answer did.
    Cut(String),
    /// The answer is longer than we take.
    TooLarge(&'static str),
    /// What came back is not HTTP.
    NotHttp,
    /// The request could not be put together.
    Request(&'static str),
}

/// Why a TLS handshake failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the TLS handshake failed")]
pub(super) enum TlsFailure {
    /// None of the trusted authorities signed the certificate.
    UnknownAuthority,
    /// A certificate has expired or is not valid yet; the text names it, and has both times.
    Time(String),
    /// The certificate is for other names.
    Name {
        /// The name we asked for.
        expected: String,
        /// The names it has.
        presented: Vec<String>,
    },
    /// The other side does not speak TLS.
    NotTls,
    /// The server found nothing that both sides support.
    NothingInCommon,
    /// Anything else.
    Other {
        /// What is wrong, a whole sentence.
        what: String,
        /// What to do.
        hint: String,
    },
}

impl TlsFailure {
    /// The server takes only clients with a certificate.
    pub(super) fn wants_client_certificate() -> Self {
        Self::Other {
            what: "the server wants a client certificate (mutual TLS), and podkey has none".to_owned(),
            hint: CLIENT_CERTIFICATE.to_owned(),
        }
    }
}

/// What to do about a server that wants a client certificate.
pub(super) const CLIENT_CERTIFICATE: &str = "give the connection a listener without tls_require_and_verify_client_cert (tls_disable_client_certs = true), or one of its own; where a proxy asks for it, a way around that";

/// What of an HTTP answer the classification looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Status and content type.
    pub head: Head,
    /// Vault's `errors`, each escaped and cut.
    pub errors: Vec<String>,
    /// Vault's `warnings`, likewise.
    pub warnings: Vec<String>,
    /// The header `Retry-After`, in seconds.
    pub retry_after: Option<Duration>,
    /// The body is one of the API's. Where it is not, something in front of the server has answered, and the status says nothing
    /// about the secret.
    pub from_vault: bool,
    /// A KV v2 version that is no more: which, and what became of it.
    pub gone: Option<GoneVersion>,
    /// What the answer means, where neither status nor `errors` say that.
    pub meaning: Option<Meaning>,
}

/// The head of an answer, as far as messages show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The status code.
    pub status: u16,
    /// The content type, cut.
    pub content_type: String,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content_type = match self.content_type.as_str() {
            "" => "no content type",
            known => known,
        };
        write!(f, "status {} ({content_type})", self.status)
    }
}

/// What an answer means that neither its status nor its `errors` explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A TLS port that was spoken to in clear text.
    WantsTls,
    /// A proxy that ends TLS, in front of a TLS port that it speaks to in clear text.
    WantsTlsBehind,
    /// A proxy that takes only clients with a certificate.
    WantsClientCertificate,
    /// A listener of the server's that serves only its metrics.
    MetricsListener,
    /// The login needs a second factor, by these enforcements.
    SecondFactor(Vec<String>),
    /// A version was asked for where there are none.
    Unversioned,
}

/// A KV v2 version that was deleted or destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GoneVersion {
    /// Its number.
    pub version: u64,
    /// For good.
    pub destroyed: bool,
    /// When, as the server wrote it.
    pub at: String,
}

impl Refusal {
    /// Whether one of the server's errors contains the text.
    pub(super) fn says(&self, text: &str) -> bool {
        self.errors.iter().any(|error| error.contains(text))
    }

    /// The server's words, or what is known without them.
    pub(super) fn words(&self) -> String {
        match self.errors.is_empty() {
            true => self.head.to_string(),
            false => format!("status {}: {}", self.head.status, self.errors.join("; ")),
        }
    }
}

/// Text from outside made fit for one line of a log or a terminal: control and invisible characters escaped, cut at
/// `limit` bytes.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        match c {
            '\n' | '\t' | '\r' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            _ if !is_printable(c) => out.extend(c.escape_unicode()),
            _ => out.push(c),
        }
        if out.len() > limit {
            let end = out.floor_char_boundary(limit);
            out.truncate(end);
            out.push('…');
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_on_one_line() {
        assert_eq!(
            clean("1 error occurred:\n\t* permission denied\n\n", 512),
            "1 error occurred: * permission denied"
        );
        assert_eq!(clean("\u{1b}[31mred\u{202e}\0", 512), "\\u{1b}[31mred\\u{202e}\\u{0}");
        assert_eq!(clean(&"ä".repeat(600), 512).len(), 512 + '…'.len_utf8());
    }
}
