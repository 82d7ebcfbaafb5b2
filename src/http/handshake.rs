//! What a failed TLS handshake means. The TLS library's own texts are for its developers: none of them is passed on.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::error::{TlsError, TransportError};

/// The meaning of an error that ended a handshake, or a connection over TLS.
pub(super) fn handshake_error(error: &io::Error) -> TransportError {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => TransportError::Cut("the server closed it during the TLS handshake".into()),
            kind => TransportError::Cut(format!("{kind} during the TLS handshake")),
        };
    };
    let other = |what: &str, hint: &str| TlsError::Other {
        what: what.to_owned(),
        hint: hint.to_owned(),
    };
    TransportError::Tls(match tls {
        Error::InvalidMessage(_) => TlsError::NotTls,
        // The error of `verify`.
        Error::InvalidCertificate(CertificateError::Other(inner)) => match inner.0.downcast_ref::<TlsError>() {
            Some(error) => error.clone(),
            None => other("the server's certificate breaks a rule of X.509", ""),
        },
        Error::InvalidCertificate(_) => other(
            "the server's signature in the TLS handshake does not fit its certificate",
            "does the server have the private key of the certificate that it shows?",
        ),
        Error::NoCertificatesPresented => other("the server shows no certificate", "give it a TLS certificate"),
        Error::AlertReceived(alert) => alert_error(*alert),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => TlsError::Version,
        Error::PeerIncompatible(_) => TlsError::NothingInCommon,
        _ => other(
            "the server breaks the rules of TLS",
            "is the server, or something in between that ends TLS, of a very old version?",
        ),
    })
}

/// Why the server ended the handshake. <https://www.rfc-editor.org/rfc/rfc8446#section-6.2>
fn alert_error(alert: AlertDescription) -> TlsError {
    match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => TlsError::NothingInCommon,
        // These can only be about a client certificate, and podkey shows none.
        AlertDescription::CertificateRequired
        | AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => TlsError::WantsClientCertificate,
        AlertDescription::ProtocolVersion => TlsError::Version,
        AlertDescription::UnrecognisedName => TlsError::UnrecognizedName,
        other => TlsError::Alert(u8::from(other)),
    }
}
