//! Which authorities are trusted, and what a failed TLS handshake means.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, PeerIncompatible, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

use super::certificate::Certificate;
use super::error::{Kind, TlsFailure, TransportError, VaultError, clean};
use super::judge::{Judge, Onlooker};
use crate::plan::Connection;

/// The image's bundle of public authorities, for connections without a CA of their own: where podkey's own image and Debian
/// have it. The job hooks run in the runner's image, which may be another family's.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The connector for a connection, and the name to expect.
pub(super) fn connector(connection: &Connection) -> Result<(TlsConnector, ServerName<'static>), VaultError> {
    let roots = match &connection.ca {
        Some(pem) => roots(pem.as_bytes(), "the connection's CA bundle", Unusable::Refused)?,
        None => public_roots(Path::new("/"), "set caFile of the connection")?,
    };
    let name = match &connection.tls_server_name {
        Some(name) => name.as_str(),
        None => connection.address.host(),
    };
    let name = ServerName::try_from(name.to_owned()).map_err(|_| {
        VaultError::new(
            Kind::Trust,
            format!("{} is no name that a certificate could have", clean(name, 256)),
            "set tlsServerName of the connection",
        )
    })?;
    Ok((client(roots)?, name))
}

/// A connector that trusts nobody: it finds out what of a server's certificate podkey does not take, and ends the handshake.
pub(super) fn onlooker() -> Option<TlsConnector> {
    let onlooker = Arc::new(Onlooker::default());
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .ok()?;
    let verified = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&onlooker) as _);
    Some(TlsConnector::from(Arc::new(
        verified.with_client_cert_resolver(onlooker),
    )))
}

/// The connector for GitHub, trusted by the bundle of the image that the hook runs in, below `root`; ARC's
/// `githubServerTLS` puts a private authority there.
pub(super) fn public_connector(root: &Path, host: &str) -> Result<(TlsConnector, ServerName<'static>), VaultError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        VaultError::new(
            Kind::Trust,
            format!("{} is no name that a certificate could have", clean(host, 256)),
            "",
        )
    })?;
    Ok((
        client(public_roots(root, "install ca-certificates in the runner's image")?)?,
        name,
    ))
}

fn public_roots(root: &Path, remedy: &str) -> Result<Trusted, VaultError> {
    for bundle in BUNDLES {
        match std::fs::read(root.join(bundle.trim_start_matches('/'))) {
            Ok(pem) => return roots(&pem, bundle, Unusable::Skipped),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(VaultError::new(
                    Kind::Trust,
                    format!("{bundle} cannot be read: {error}"),
                    remedy,
                ));
            }
        }
    }
    Err(VaultError::new(
        Kind::Trust,
        format!("the image has no CA bundle: {} is not there", BUNDLES[0]),
        remedy,
    ))
}

/// Authorities, and the certificates that are trusted as they are.
struct Trusted {
    roots: RootCertStore,
    listed: Vec<CertificateDer<'static>>,
}

fn client(trusted: Trusted) -> Result<TlsConnector, VaultError> {
    let cannot = || {
        VaultError::new(
            Kind::Trust,
            "TLS cannot be set up",
            "this is a fault of podkey: please report it",
        )
    };
    let provider = Arc::new(ring::default_provider());
    let authorities = match trusted.roots.is_empty() {
        true => None,
        false => Some(
            WebPkiServerVerifier::builder_with_provider(Arc::new(trusted.roots), Arc::clone(&provider))
                .build()
                .map_err(|_| cannot())?,
        ),
    };
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| cannot())?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Judge::new(authorities, algorithms, trusted.listed)))
        .with_no_client_auth();
    // One run, hardly ever a second connection: nothing to resume.
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What becomes of a certificate that cannot be used. In a bundle of hundreds it harms nobody; in a list of a few it is a
/// mistake to be told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unusable {
    Skipped,
    Refused,
}

fn roots(pem: &[u8], whence: &str, unusable: Unusable) -> Result<Trusted, VaultError> {
    let bad = |message: String| VaultError::new(Kind::Trust, message, "it must hold PEM certificates of authorities");
    let mut trusted = Trusted {
        roots: RootCertStore::empty(),
        listed: Vec::new(),
    };
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        // The libraries' own words are not for people.
        let added = match certificate {
            Err(_) => Err("its PEM is broken".to_owned()),
            Ok(certificate) if unusable == Unusable::Skipped => {
                trusted.roots.add(certificate).map_err(|_| String::new())
            }
            Ok(certificate) => {
                trusted.listed.push(certificate.clone());
                let read = Certificate::read(&certificate);
                let why = read.as_ref().map(Certificate::unfit);
                // A server's own certificate is trusted as it stands, and signs no other: the TLS library would take any root
                // for an authority, whose dates do not count.
                let is_of_a_server = read.is_some_and(|read| !read.is_authority && read.has_names());
                match is_of_a_server && why == Some(None) {
                    true => Ok(()),
                    false => trusted.roots.add(certificate).map_err(|_| match why {
                        None => "it is no X.509 certificate".to_owned(),
                        Some(Some(why)) => format!("it {why}"),
                        Some(None) => "it breaks a rule of X.509".to_owned(),
                    }),
                }
            }
        };
        if let Err(why) = added
            && unusable == Unusable::Refused
        {
            return Err(bad(format!(
                "{whence}: certificate {} cannot be used: {why}",
                index + 1
            )));
        }
    }
    match trusted.roots.is_empty() && trusted.listed.is_empty() {
        true => Err(bad(format!("{whence} holds no certificate"))),
        false => Ok(trusted),
    }
}

/// What a failed handshake means. The TLS library's own texts are for its developers: none of them is passed on.
pub(super) fn handshake_error(error: &io::Error) -> TransportError {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => TransportError::Cut("the server closed it during the TLS handshake".into()),
            kind => TransportError::Cut(format!("{kind} during the TLS handshake")),
        };
    };
    let other = |what: &str, hint: &str| TlsFailure::Other {
        what: what.to_owned(),
        hint: hint.to_owned(),
    };
    TransportError::Tls(match tls {
        Error::InvalidMessage(_) => TlsFailure::NotTls,
        Error::InvalidCertificate(CertificateError::Other(judged)) => match judged.0.downcast_ref::<TlsFailure>() {
            Some(judged) => judged.clone(),
            None => other("the server's certificate breaks a rule of X.509", ""),
        },
        Error::InvalidCertificate(_) => other(
            "the server's signature in the TLS handshake does not fit its certificate",
            "does the server have the private key of the certificate that it shows?",
        ),
        Error::NoCertificatesPresented => other("the server shows no certificate", "give it a TLS certificate"),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => old_tls(),
        Error::PeerIncompatible(_) => TlsFailure::NothingInCommon,
        _ => other(
            "the server breaks the rules of TLS",
            "is it, or something in between that ends TLS, of a very old version?",
        ),
    })
}

fn old_tls() -> TlsFailure {
    TlsFailure::Other {
        what: "the server speaks no version of TLS that podkey speaks".to_owned(),
        hint: "podkey speaks TLS 1.2 and 1.3: raise tls_min_version and tls_max_version of the server's listener"
            .to_owned(),
    }
}

/// What it means that the server ended the handshake. <https://www.rfc-editor.org/rfc/rfc8446#section-6.2>
fn alerted(alert: AlertDescription) -> TlsFailure {
    match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => TlsFailure::NothingInCommon,
        // It can only be about the client's: podkey shows none.
        AlertDescription::CertificateRequired
        | AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => TlsFailure::wants_client_certificate(),
        AlertDescription::ProtocolVersion => old_tls(),
        AlertDescription::UnrecognisedName => TlsFailure::Other {
            what: "the server has no certificate for the name it was asked by (TLS alert unrecognized_name)".to_owned(),
            hint: "set tlsServerName of the connection to a name that the server has a certificate for, or correct its address"
                .to_owned(),
        },
        other => TlsFailure::Other {
            what: format!("the server ended the TLS handshake (TLS alert {})", u8::from(other)),
            hint: "the server's own log says why; has it a certificate for the name in the connection's address?".to_owned(),
        },
    }
}
