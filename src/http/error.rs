//! Why a request got no whole answer. No error holds a body, a token or a secret.

use std::time::Duration;

/// Why no whole answer arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TransportError {
    /// The host name did not resolve: the name, and why.
    Resolve(String),
    /// No address of the host accepted the connection: the address, and why.
    Connect(String),
    /// The proxy opened no tunnel, and why: a sentence about the proxy.
    Proxy(String),
    /// The TLS handshake failed.
    Tls(TlsError),
    /// A step took longer than its limit: the step, and the limit.
    TimedOut(&'static str, Duration),
    /// The connection ended before the answer was complete, and how.
    Cut(String),
    /// The answer is longer than this limit, in bytes.
    TooLarge(usize),
    /// The answer is not HTTP.
    NotHttp,
    /// The request could not be built, and why.
    Request(&'static str),
}

/// Why a TLS handshake failed. `Display` has a sentence for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the server's certificate is not signed by a trusted authority")]
    UnknownAuthority,
    /// A certificate has expired or is not valid yet. The sentence names the certificate, and has both times.
    #[error("{0}")]
    Time(String),
    #[error("the server's certificate is not for {expected} but for {}", listed(presented))]
    Name {
        /// The name that podkey expects.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    #[error("the server does not speak TLS")]
    NotTls,
    /// The server found no version, cipher or kind of certificate that both sides support.
    #[error("the server found nothing in common with podkey in the TLS handshake")]
    NothingInCommon,
    #[error("the server speaks no version of TLS that podkey speaks")]
    Version,
    #[error("the server wants a client certificate (mutual TLS), and podkey has none")]
    WantsClientCertificate,
    #[error("the server has no certificate for the name that podkey asks for (TLS alert unrecognized_name)")]
    UnrecognizedName,
    /// The server ended the handshake with an alert that has no variant here.
    #[error("the server ended the TLS handshake (TLS alert {0})")]
    Alert(u8),
    #[error("{what}")]
    Other {
        /// What is wrong, as a whole sentence.
        what: String,
        /// What to do. May be empty.
        hint: String,
    },
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "no DNS name and no address".to_owned(),
        names => names.join(", "),
    }
}

/// A limit in bytes as a person reads it, such as `4 MiB`.
pub(crate) fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;
    match bytes % MIB {
        0 => format!("{} MiB", bytes / MIB),
        _ => format!("{} KiB", bytes / KIB),
    }
}
