//! Which authorities a TLS connection trusts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

use super::certificate::CertificateFields;
use super::redact::clean;
use super::verify::CertificateVerifier;

/// The image's bundle of public authorities, for connections without a `caFile`: where podkey's own image and Debian
/// have it. The job hooks run in the runner's image, which may be of another family.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How to begin TLS with a server, and the name that its certificate must have.
pub(crate) type TlsTarget = (TlsConnector, ServerName<'static>);

/// Why TLS cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TrustError {
    #[error("{0} is not a name that a certificate can have")]
    Name(String),
    #[error("the image has no CA bundle: {} does not exist", BUNDLES[0])]
    NoBundle,
    #[error("{0} cannot be read: {1}")]
    UnreadableBundle(&'static str, String),
    /// Certificates that cannot be used: a whole sentence.
    #[error("{0}")]
    Certificates(String),
    /// The TLS library refuses podkey's own settings.
    #[error("TLS cannot be set up")]
    Library,
}

/// Trusts the certificates of a connection's `caFile` alone, or the image's bundle of public authorities where there is none.
pub(crate) fn trust_ca(ca: Option<&str>, name: &str) -> Result<TlsTarget, TrustError> {
    let trusted = match ca {
        Some(pem) => read_pem(pem.as_bytes(), "the connection's CA bundle", OnUnusable::Refuse)?,
        None => public_authorities(Path::new("/"))?,
    };
    Ok((connector(trusted)?, server_name(name)?))
}

/// Trusts the bundle of public authorities in the image below `root`. ARC's `githubServerTLS` puts a private authority there.
pub(super) fn trust_public(root: &Path, host: &str) -> Result<TlsTarget, TrustError> {
    let name = server_name(host)?;
    Ok((connector(public_authorities(root)?)?, name))
}

/// A connector that trusts nobody. It finds out which property of a server's certificate podkey does not accept, and ends the
/// handshake.
pub(super) fn probe() -> Option<TlsConnector> {
    let verifier = Arc::new(CertificateVerifier::probe());
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .ok()?;
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
        .with_client_cert_resolver(verifier);
    Some(TlsConnector::from(Arc::new(config)))
}

fn server_name(name: &str) -> Result<ServerName<'static>, TrustError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TrustError::Name(clean(name, 256)))
}

fn public_authorities(root: &Path) -> Result<Trusted, TrustError> {
    for bundle in BUNDLES {
        match std::fs::read(root.join(bundle.trim_start_matches('/'))) {
            Ok(pem) => return read_pem(&pem, bundle, OnUnusable::Skip),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(TrustError::UnreadableBundle(bundle, error.to_string())),
        }
    }
    Err(TrustError::NoBundle)
}

/// What a connection trusts.
struct Trusted {
    authorities: RootCertStore,
    /// The certificates of `caFile`, which are trusted byte for byte. Empty for a bundle.
    listed: Vec<CertificateDer<'static>>,
}

fn connector(trusted: Trusted) -> Result<TlsConnector, TrustError> {
    let provider = Arc::new(ring::default_provider());
    let authorities = match trusted.authorities.is_empty() {
        true => None,
        false => Some(
            WebPkiServerVerifier::builder_with_provider(Arc::new(trusted.authorities), Arc::clone(&provider))
                .build()
                .map_err(|_| TrustError::Library)?,
        ),
    };
    let algorithms = provider.signature_verification_algorithms;
    let verifier = CertificateVerifier::new(authorities, algorithms, trusted.listed);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TrustError::Library)?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // A run hardly ever opens a second connection: there is nothing to resume.
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What to do with a certificate that cannot be used. In a bundle of hundreds it does no harm; in a list of a few it is
/// a mistake that must be reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnUnusable {
    Skip,
    Refuse,
}

fn read_pem(pem: &[u8], source: &str, on_unusable: OnUnusable) -> Result<Trusted, TrustError> {
    let mut trusted = Trusted {
        authorities: RootCertStore::empty(),
        listed: Vec::new(),
    };
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        // The TLS libraries' own texts are not for people.
        let added = match certificate {
            Err(_) => Err("its PEM is broken".to_owned()),
            Ok(certificate) if on_unusable == OnUnusable::Skip => {
                trusted.authorities.add(certificate).map_err(|_| String::new())
            }
            Ok(certificate) => trusted.add_listed(certificate),
        };
        if let Err(why) = added
            && on_unusable == OnUnusable::Refuse
        {
            return Err(TrustError::Certificates(format!(
                "{source}: certificate {} cannot be used: {why}",
                index + 1
            )));
        }
    }
    match trusted.authorities.is_empty() && trusted.listed.is_empty() {
        true => Err(TrustError::Certificates(format!("{source} holds no certificate"))),
        false => Ok(trusted),
    }
}

impl Trusted {
    /// Adds a certificate of `caFile`. The error says why it cannot be used.
    fn add_listed(&mut self, certificate: CertificateDer<'static>) -> Result<(), String> {
        self.listed.push(certificate.clone());
        let fields = CertificateFields::read(&certificate);
        let unfit = fields.as_ref().map(CertificateFields::unfit);
        // A server's own certificate is trusted byte for byte, and signs no other certificate. As a root, the TLS library would take
        // it for an authority, and ignore its validity period.
        let is_of_a_server = fields.is_some_and(|fields| !fields.is_authority && fields.has_names());
        if is_of_a_server && unfit == Some(None) {
            return Ok(());
        }
        self.authorities.add(certificate).map_err(|_| match unfit {
            None => "it is not an X.509 certificate".to_owned(),
            Some(Some(why)) => format!("it {why}"),
            Some(None) => "it breaks a rule of X.509".to_owned(),
        })
    }
}
