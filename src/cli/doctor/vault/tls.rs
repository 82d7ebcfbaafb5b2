//! Whom a TLS connection trusts, and why it does not trust a server.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::wire::{REQUEST, shown};
use crate::cli::cause::{causes as causes_of, innermost};

/// How to reach a server.
pub(super) struct Door<'a> {
    /// Whether the server speaks TLS.
    pub(super) tls: bool,
    pub(super) address: SocketAddr,
    /// The name that the certificate must have.
    pub(super) name: &'a str,
    /// PEM certificates of the only authorities to trust. None: those of this machine.
    pub(super) ca: Option<&'a str>,
}

/// Why TLS failed.
pub(super) enum TlsProblem {
    UnknownAuthority,
    WrongName {
        presented: Vec<String>,
    },
    Expired,
    NotYetValid,
    /// The server answers a TLS handshake with something else.
    NoTls,
    Other(String),
}

impl Door<'_> {
    /// A client for this door, and the base of its URLs. The error is a whole sentence.
    pub(super) fn client(&self) -> Result<(reqwest::Client, String), String> {
        let port = self.address.port();
        let is_ip = self.name.parse::<std::net::IpAddr>().is_ok();
        let mut builder = reqwest::Client::builder()
            .timeout(REQUEST)
            .connect_timeout(REQUEST)
            .redirect(reqwest::redirect::Policy::none())
            // As podkey-agent: no proxy takes part.
            .no_proxy()
            .http1_only()
            .user_agent(concat!("podkey-doctor/", env!("CARGO_PKG_VERSION")));
        // A name in a URL is looked up; an IP address in a URL is dialled. TLS checks the name below.
        let host = match (is_ip, self.address.ip()) {
            (true, std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
            (true, std::net::IpAddr::V4(ip)) => ip.to_string(),
            (false, _) => {
                builder = builder.resolve(self.name, self.address);
                self.name.to_owned()
            }
        };
        if !self.tls {
            builder = builder.tls_certs_only(Vec::new());
        } else if let Some(pem) = self.ca {
            builder = builder.tls_backend_preconfigured(self.trusting(pem)?);
        }
        let client = builder
            .build()
            .map_err(|error| format!("no client can be made: {}", causes(&error)))?;
        let scheme = if self.tls { "https" } else { "http" };
        Ok((client, format!("{scheme}://{host}:{port}/")))
    }

    fn trusting(&self, pem: &str) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        let listed: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let listed = listed.map_err(|_| "the connection's CA bundle is not valid PEM".to_owned())?;
        for certificate in &listed {
            let _ = roots.add(certificate.clone());
        }
        if listed.is_empty() {
            return Err("the connection's CA bundle has no certificate".to_owned());
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .ok();
        let name = ServerName::try_from(self.name.to_owned())
            .map_err(|_| format!("{} is not a name that a certificate can have", shown(self.name)))?;
        let verifier = Verifier {
            authorities,
            listed,
            name,
            provider: Arc::clone(&provider),
        };
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|_| "TLS cannot be set up".to_owned())?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Ok(builder.with_no_client_auth())
    }
}

/// As podkey-agent verifies: by the authorities of the connection, or because the certificate is one of them, byte for byte; and always
/// for the connection's name.
#[derive(Debug)]
struct Verifier {
    authorities: Option<Arc<WebPkiServerVerifier>>,
    listed: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn is_listed_and_valid(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.listed.iter().any(|listed| listed == certificate) {
            return Ok(false);
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, &self.name)?;
        let Ok((_, fields)) = X509Certificate::from_der(certificate) else {
            return Err(CertificateError::BadEncoding.into());
        };
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let validity = fields.validity();
        if now > validity.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        if now < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        Ok(true)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_listed_and_valid(certificate, now)? {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.authorities {
            None => Err(CertificateError::UnknownIssuer.into()),
            Some(authorities) => authorities.verify_server_cert(certificate, intermediates, &self.name, ocsp, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why TLS failed. None: the error is not one of TLS.
pub(super) fn problem(error: &(dyn StdError + 'static)) -> Option<TlsProblem> {
    let rustls = causes_of(error).find_map(|error| error.downcast_ref::<Error>())?;
    Some(match rustls {
        Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => TlsProblem::UnknownAuthority,
            CertificateError::NotValidForName => TlsProblem::WrongName { presented: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => TlsProblem::WrongName {
                presented: presented.iter().take(8).map(|name| shown(name)).collect(),
            },
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsProblem::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsProblem::NotYetValid,
            other => TlsProblem::Other(shown(&other.to_string())),
        },
        Error::InvalidMessage(_) => TlsProblem::NoTls,
        other => TlsProblem::Other(shown(&other.to_string())),
    })
}

/// The text of the innermost cause.
pub(super) fn causes(error: &(dyn StdError + 'static)) -> String {
    shown(&innermost(error))
}
