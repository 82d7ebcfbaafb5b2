//! Which certificates are trusted, and what a failed TLS handshake means.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use super::error::{Kind, TlsFailure, TransportError, VaultError, clean};
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

fn public_roots(root: &Path, remedy: &str) -> Result<RootCertStore, VaultError> {
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

fn client(roots: RootCertStore) -> Result<TlsConnector, VaultError> {
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| VaultError::new(Kind::Trust, format!("TLS cannot be set up: {error}"), ""))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
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

fn roots(pem: &[u8], whence: &str, unusable: Unusable) -> Result<RootCertStore, VaultError> {
    let bad = |message: String| VaultError::new(Kind::Trust, message, "it must hold PEM certificates of authorities");
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let added = match certificate {
            Ok(certificate) => roots.add(certificate).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = added
            && unusable == Unusable::Refused
        {
            return Err(bad(format!(
                "{whence}: certificate {} cannot be used: {}",
                index + 1,
                clean(&error, 200)
            )));
        }
    }
    match roots.is_empty() {
        true => Err(bad(format!("{whence} holds no certificate"))),
        false => Ok(roots),
    }
}

/// What a failed handshake means.
pub(super) fn handshake_error(error: &io::Error) -> TransportError {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => TransportError::Cut("the server closed it during the TLS handshake".into()),
            kind => TransportError::Cut(format!("{kind} during the TLS handshake")),
        };
    };
    TransportError::Tls(match tls {
        Error::InvalidMessage(_) => TlsFailure::NotTls,
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFailure::UnknownAuthority,
            CertificateError::ExpiredContext { time, not_after } => TlsFailure::Time(format!(
                "expired at {}; the local clock says {}",
                when(*not_after),
                when(*time)
            )),
            CertificateError::NotValidYetContext { time, not_before } => TlsFailure::Time(format!(
                "is not valid before {}; the local clock says {}",
                when(*not_before),
                when(*time)
            )),
            CertificateError::Expired => TlsFailure::Time("has expired".into()),
            CertificateError::NotValidYet => TlsFailure::Time("is not valid yet".into()),
            CertificateError::NotValidForNameContext { expected, presented } => TlsFailure::Name {
                expected: expected.to_str().into_owned(),
                presented: presented.iter().take(10).map(|name| clean(name, 256)).collect(),
            },
            other => TlsFailure::Other(clean(&other.to_string(), 256)),
        },
        other => TlsFailure::Other(clean(&other.to_string(), 256)),
    })
}

fn when(time: UnixTime) -> String {
    // Certificates may have times that a clock cannot.
    match UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())) {
        Some(time)
            if time
                .duration_since(UNIX_EPOCH)
                .is_ok_and(|d| d.as_secs() < 253_402_300_800) =>
        {
            humantime::format_rfc3339_seconds(time).to_string()
        }
        _ => format!("second {}", time.as_secs()),
    }
}
