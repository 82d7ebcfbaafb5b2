//! Failures without a whole answer.

use super::{Classified, give_up, retry, unavailable};
use crate::http::{Pause, RetryWindow, SUPPORTED, TlsError, TransportError, size};
use crate::vault::error::VaultErrorKind;
use crate::vault::transport::{MAX_ANSWER, MAX_ANSWERS};

/// What to do about a server that wants a client certificate.
pub(super) const CLIENT_CERTIFICATE: &str = "give the connection a listener without tls_require_and_verify_client_cert (tls_disable_client_certs = true), or one of its own; if a proxy asks for the certificate, a way around that proxy";

/// The limits on answers, for a hint.
pub(in crate::vault) fn size_limits() -> String {
    format!(
        "podkey takes {} in one answer and {} in all",
        size(MAX_ANSWER),
        size(MAX_ANSWERS)
    )
}

pub(super) fn decide(error: &TransportError) -> Classified {
    match error {
        TransportError::Resolve(why) => unavailable(
            format!("the server's name does not resolve: {why}"),
            "check the host in the connection's address, and the cluster's DNS",
        ),
        TransportError::Connect(why) => unavailable(
            format!("the server cannot be reached: {why}"),
            "is it running, and does a NetworkPolicy let this pod reach it?",
        ),
        TransportError::TimedOut(what, limit) => unavailable(
            format!("{what} took longer than {}", humantime::format_duration(*limit)),
            "is the server overloaded, or does something in between swallow the traffic?",
        ),
        // Requests to Vault never go through a proxy.
        TransportError::Proxy(why) => unavailable(format!("the proxy opened no tunnel: {why}"), ""),
        TransportError::Cut(why) => unavailable(
            format!("the connection ended before the answer did: {why}"),
            "is the server, or a proxy in front of it, restarting?",
        ),
        TransportError::TooLarge(limit) => give_up(
            VaultErrorKind::NotVault,
            format!("the answer is larger than {}", size(*limit)),
            size_limits(),
        ),
        TransportError::NotHttp => give_up(
            VaultErrorKind::NotVault,
            "the answer is not HTTP",
            "check scheme and port of the connection's address",
        ),
        TransportError::Request(why) => {
            give_up(VaultErrorKind::Setup, format!("the request cannot be built: {why}"), "")
        }
        TransportError::Tls(error) => tls(error),
    }
}

fn tls(error: &TlsError) -> Classified {
    let once =
        |message: String, hint: &str| retry(Pause::Jitter, RetryWindow::Once, VaultErrorKind::Trust, message, hint);
    match error {
        TlsError::UnknownAuthority => once(
            "the server's certificate is not signed by any of the connection's CAs".to_owned(),
            "put the CA that signed it into the connection's caFile",
        ),
        TlsError::Time(times) => retry(
            Pause::Jitter,
            RetryWindow::QuarterBudget,
            VaultErrorKind::Trust,
            times.as_str(),
            "renew the certificate, or set the node's clock",
        ),
        TlsError::Name { .. } => give_up(
            VaultErrorKind::Trust,
            error.to_string(),
            "set tlsServerName of the connection to a name in the certificate, or correct its address",
        ),
        TlsError::NotTls => give_up(
            VaultErrorKind::Trust,
            error.to_string(),
            "check scheme and port of the connection's address",
        ),
        TlsError::NothingInCommon => once(
            format!("{error} (version, cipher or kind of certificate)"),
            &format!("podkey speaks TLS 1.2 and 1.3. For certificates: {SUPPORTED}"),
        ),
        TlsError::Version => once(
            error.to_string(),
            "podkey speaks TLS 1.2 and 1.3: raise tls_min_version and tls_max_version of the server's listener",
        ),
        TlsError::WantsClientCertificate => once(error.to_string(), CLIENT_CERTIFICATE),
        TlsError::UnrecognizedName => once(
            error.to_string(),
            "set tlsServerName of the connection to a name that the server has a certificate for, or correct its address",
        ),
        TlsError::Alert(_) => once(
            error.to_string(),
            "the server's own log says why; has it a certificate for the name in the connection's address?",
        ),
        TlsError::Other { what, hint } => once(what.clone(), hint),
    }
}
