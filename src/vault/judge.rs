//! Which server certificate is trusted, and what is wrong with one that is not. The TLS library (rustls, webpki) decides; this
//! file adds two things: a certificate that stands byte for byte in `caFile` is trusted as that server's, and each refusal is
//! put into words that name the algorithm, size or name form that podkey does not take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::{Certificate, TAKEN};
use super::error::TlsFailure;

/// Judges the certificate that a server shows.
#[derive(Debug)]
pub(super) struct Judge {
    /// None: `caFile` lists servers' certificates alone.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    /// The certificates of `caFile`. Empty where the image's bundle is trusted.
    listed: Vec<CertificateDer<'static>>,
}

impl Judge {
    pub(super) fn new(
        authorities: Option<Arc<WebPkiServerVerifier>>,
        algorithms: WebPkiSupportedAlgorithms,
        listed: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self {
            authorities,
            algorithms,
            listed,
        }
    }

    /// A listed certificate needs no authority, whatever it says of its purpose: who listed it named this very server. Its
    /// name, its period and its key are held to what every other one is held to. (An authority's own certificate may be
    /// shown so too: whoever has its key could sign a certificate for that name anyway.)
    fn judge_listed(der: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), TlsFailure> {
        let certificate = Certificate::read(der).ok_or_else(unreadable)?;
        if let Some(why) = certificate.unfit_key() {
            return Err(unfit(format!("the server's certificate {why}")));
        }
        if now.as_secs() > certificate.not_after {
            return Err(expired(OF_SERVER, certificate.not_after, now));
        }
        if now.as_secs() < certificate.not_before {
            return Err(not_yet(OF_SERVER, certificate.not_before, now));
        }
        let parsed = ParsedCertificate::try_from(der).map_err(|_| match certificate.unfit() {
            Some(why) => unfit(format!("the server's certificate {why}")),
            None => unreadable(),
        })?;
        verify_server_name(&parsed, name).map_err(|_| misnamed(&certificate, name))
    }

    /// What the TLS library's refusal means.
    fn failure(
        &self,
        error: &Error,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> TlsFailure {
        let Some(leaf) = Certificate::read(der) else {
            return unreadable();
        };
        let Error::InvalidCertificate(error) = error else {
            return TlsFailure::UnknownAuthority;
        };
        match error {
            CertificateError::UnknownIssuer => TlsFailure::UnknownAuthority,
            CertificateError::ExpiredContext { time, not_after } => {
                expired(whose(leaf.not_after == not_after.as_secs()), not_after.as_secs(), *time)
            }
            CertificateError::NotValidYetContext { time, not_before } => not_yet(
                whose(leaf.not_before == not_before.as_secs()),
                not_before.as_secs(),
                *time,
            ),
            CertificateError::Expired => TlsFailure::Time(format!("{OF_SERVER} has expired")),
            CertificateError::NotValidYet => TlsFailure::Time(format!("{OF_SERVER} is not valid yet")),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                misnamed(&leaf, name)
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => TlsFailure::Other {
                what: "the server's certificate is not for servers: its extended key usage has no serverAuth".into(),
                hint: "issue it with the extended key usage serverAuth".into(),
            },
            error => self.unfit(&leaf, intermediates, error),
        }
    }

    /// The first certificate of the chain that podkey's TLS library cannot work with.
    fn unfit(
        &self,
        leaf: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        error: &CertificateError,
    ) -> TlsFailure {
        if let Some(why) = leaf.unfit() {
            return unfit(format!("{OF_SERVER} {why}"));
        }
        if leaf.is_authority {
            return TlsFailure::Other {
                what: format!("{OF_SERVER} is that of an authority (CA:TRUE), and is not itself in the connection's caFile"),
                hint: "put this very certificate into caFile, or give the server a certificate that an authority of caFile signed"
                    .into(),
            };
        }
        let sent: Vec<Certificate<'_>> = intermediates.iter().filter_map(|der| Certificate::read(der)).collect();
        if let Some(why) = sent.iter().find_map(Certificate::unfit) {
            return unfit(format!("an authority's certificate that the server sends {why}"));
        }
        let issuers: Vec<&[u8]> = sent
            .iter()
            .chain([leaf])
            .map(|certificate| certificate.issuer)
            .collect();
        let listed = self.listed.iter().filter_map(|der| Certificate::read(der));
        let why = listed
            .filter(|authority| issuers.contains(&authority.subject))
            // Who signed it does not matter: it is trusted as it stands there.
            .find_map(|authority| authority.unfit_key());
        match why {
            Some(why) => unfit(format!("the authority's certificate in the connection's caFile {why}")),
            // An authority of the same name, with another key.
            None if *error == CertificateError::BadSignature => TlsFailure::UnknownAuthority,
            None => unreadable(),
        }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = match &self.authorities {
            Some(authorities) => {
                authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        let judged = match judged {
            // Its signature in the handshake would be refused later, and for no reason that could be told.
            Ok(_) => match Certificate::read(end_entity).and_then(|leaf| leaf.unfit_key()) {
                None => Ok(()),
                Some(why) => Err(unfit(format!("{OF_SERVER} {why}"))),
            },
            Err(_) if self.listed.iter().any(|listed| listed == end_entity) => {
                Self::judge_listed(end_entity, server_name, now)
            }
            Err(error) => Err(self.failure(&error, end_entity, intermediates, server_name)),
        };
        judged.map(|()| ServerCertVerified::assertion()).map_err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Only looks, for a server that found nothing in common with podkey: claims to know every signature scheme, so that the server
/// shows its certificate, and refuses whatever is shown, with what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Onlooker {
    /// The server asked for a certificate of the client's.
    asked: AtomicBool,
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Err(refused(
            match Certificate::read(end_entity).and_then(|leaf| leaf.unfit_key()) {
                Some(why) => unfit(format!("{OF_SERVER} {why}")),
                None if self.asked.load(Ordering::SeqCst) => TlsFailure::wants_client_certificate(),
                None => TlsFailure::NothingInCommon,
            },
        ))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refused(TlsFailure::NothingInCommon))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refused(TlsFailure::NothingInCommon))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::ED448,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
        ]
    }
}

impl ResolvesClientCert for Onlooker {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.asked.store(true, Ordering::SeqCst);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

const OF_SERVER: &str = "the server's certificate";

fn whose(is_leaf: bool) -> &'static str {
    if is_leaf {
        OF_SERVER
    } else {
        "an authority's certificate that the server sends"
    }
}

/// Our own word for it, through the TLS library and back.
fn refused(failure: TlsFailure) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(failure))))
}

fn unfit(what: String) -> TlsFailure {
    TlsFailure::Other {
        what,
        hint: format!("issue another one: {TAKEN}"),
    }
}

fn unreadable() -> TlsFailure {
    TlsFailure::Other {
        what: format!("{OF_SERVER}, or one of its authorities', breaks a rule of X.509"),
        hint: "look for critical extensions and name constraints: `openssl x509 -text` shows them".into(),
    }
}

fn expired(whose: &str, not_after: u64, now: UnixTime) -> TlsFailure {
    TlsFailure::Time(format!(
        "{whose} expired at {}; the local clock says {}",
        when(not_after),
        when(now.as_secs())
    ))
}

fn not_yet(whose: &str, not_before: u64, now: UnixTime) -> TlsFailure {
    TlsFailure::Time(format!(
        "{whose} is not valid before {}; the local clock says {}",
        when(not_before),
        when(now.as_secs())
    ))
}

/// A certificate for other names, or for none that count.
fn misnamed(leaf: &Certificate<'_>, name: &ServerName<'_>) -> TlsFailure {
    let expected = name.to_str().into_owned();
    let presented = leaf.names();
    if !leaf.has_names() {
        return TlsFailure::Other {
            what: format!("{OF_SERVER} has no subjectAltName, and a common name does not count"),
            hint: format!("issue it with a subjectAltName for {expected}"),
        };
    }
    if matches!(name, ServerName::IpAddress(_)) && presented.iter().any(|name| *name == format!("DNS:{expected}")) {
        return TlsFailure::Other {
            what: format!("{OF_SERVER} has {expected} as a DNS name, not as an IP address"),
            hint: format!("issue it with the subjectAltName IP:{expected}"),
        };
    }
    TlsFailure::Name { expected, presented }
}

fn when(seconds: u64) -> String {
    // Certificates may have times that a clock cannot.
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
        Some(time) if seconds < 253_402_300_800 => humantime::format_rfc3339_seconds(time).to_string(),
        _ => format!("second {seconds}"),
    }
}
