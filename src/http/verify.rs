//! Which server certificate is trusted, and what is wrong with any other one. The TLS library (rustls, webpki) decides. This
//! file adds two things: a certificate that stands byte for byte in `caFile` is trusted as that server's, and each refusal has
//! a message with the algorithm, size or name form that podkey does not accept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::{CertificateFields, SUPPORTED};
use super::error::TlsError;

/// Verifies the certificate that a server shows, or only explains it, see [`VerifyMode`].
#[derive(Debug)]
pub(super) struct CertificateVerifier(VerifyMode);

#[derive(Debug)]
enum VerifyMode {
    Verify(Trust),
    /// For a server that found nothing in common with podkey. Offers every signature scheme, so that the server shows its
    /// certificate, and refuses that certificate with what is wrong with it.
    Probe {
        /// The server asked for a client certificate.
        asked_for_client: AtomicBool,
    },
}

/// What a server's certificate is verified against.
#[derive(Debug)]
struct Trust {
    /// None: `caFile` lists only servers' certificates.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    /// The certificates of `caFile`. Empty where the image's bundle is trusted.
    listed: Vec<CertificateDer<'static>>,
}

/// Every signature scheme that a server's certificate may need.
const EVERY_SCHEME: [SignatureScheme; 13] = [
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
];

const OF_SERVER: &str = "the server's certificate";
const OF_SENT_AUTHORITY: &str = "an authority's certificate that the server sends";
const OF_LISTED_AUTHORITY: &str = "the authority's certificate in the connection's caFile";

impl CertificateVerifier {
    pub(super) fn new(
        authorities: Option<Arc<WebPkiServerVerifier>>,
        algorithms: WebPkiSupportedAlgorithms,
        listed: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self(VerifyMode::Verify(Trust {
            authorities,
            algorithms,
            listed,
        }))
    }

    /// A verifier that trusts no certificate.
    pub(super) fn probe() -> Self {
        Self(VerifyMode::Probe {
            asked_for_client: AtomicBool::new(false),
        })
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = match &self.0 {
            VerifyMode::Verify(trust) => trust.verify(end_entity, intermediates, server_name, ocsp_response, now),
            VerifyMode::Probe { asked_for_client } => Err(why_nothing_in_common(
                end_entity,
                asked_for_client.load(Ordering::SeqCst),
            )),
        };
        verified.map(|()| ServerCertVerified::assertion()).map_err(wrapped)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.0 {
            VerifyMode::Verify(trust) => verify_tls12_signature(message, cert, dss, &trust.algorithms),
            VerifyMode::Probe { .. } => Err(wrapped(TlsError::NothingInCommon)),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.0 {
            VerifyMode::Verify(trust) => verify_tls13_signature(message, cert, dss, &trust.algorithms),
            VerifyMode::Probe { .. } => Err(wrapped(TlsError::NothingInCommon)),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match &self.0 {
            VerifyMode::Verify(trust) => trust.algorithms.supported_schemes(),
            VerifyMode::Probe { .. } => EVERY_SCHEME.to_vec(),
        }
    }
}

/// Notes that the server asks for a client certificate, and has none to give.
impl ResolvesClientCert for CertificateVerifier {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        if let VerifyMode::Probe { asked_for_client } = &self.0 {
            asked_for_client.store(true, Ordering::SeqCst);
        }
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

impl Trust {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let verified = match &self.authorities {
            Some(authorities) => authorities.verify_server_cert(leaf, intermediates, name, ocsp_response, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        match verified {
            // The TLS library would refuse the handshake's signature by such a key later, and give no reason.
            Ok(_) => match CertificateFields::read(leaf).and_then(|leaf| leaf.unfit_key()) {
                None => Ok(()),
                Some(why) => Err(unfit(OF_SERVER, &why)),
            },
            Err(_) if self.listed.iter().any(|listed| listed == leaf) => verify_listed(leaf, name, now),
            Err(error) => Err(self.explain(&error, leaf, intermediates, name)),
        }
    }

    /// What the TLS library's refusal means.
    fn explain(
        &self,
        error: &Error,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> TlsError {
        let Some(leaf) = CertificateFields::read(leaf) else {
            return unreadable();
        };
        let Error::InvalidCertificate(error) = error else {
            return TlsError::UnknownAuthority;
        };
        let whose = |is_leaf: bool| if is_leaf { OF_SERVER } else { OF_SENT_AUTHORITY };
        match error {
            CertificateError::UnknownIssuer => TlsError::UnknownAuthority,
            CertificateError::ExpiredContext { time, not_after } => {
                let not_after = not_after.as_secs();
                expired(whose(leaf.not_after == not_after), not_after, *time)
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let not_before = not_before.as_secs();
                not_valid_yet(whose(leaf.not_before == not_before), not_before, *time)
            }
            CertificateError::Expired => TlsError::Time(format!("{OF_SERVER} has expired")),
            CertificateError::NotValidYet => TlsError::Time(format!("{OF_SERVER} is not valid yet")),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                wrong_name(&leaf, name)
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => TlsError::Other {
                what: format!("{OF_SERVER} is not for servers: its extended key usage has no serverAuth"),
                hint: "issue it with the extended key usage serverAuth".into(),
            },
            error => self.explain_chain(&leaf, intermediates, error),
        }
    }

    /// Names the first certificate of the chain that podkey's TLS library does not support.
    fn explain_chain(
        &self,
        leaf: &CertificateFields<'_>,
        intermediates: &[CertificateDer<'_>],
        error: &CertificateError,
    ) -> TlsError {
        if let Some(why) = leaf.unfit() {
            return unfit(OF_SERVER, &why);
        }
        if leaf.is_authority {
            return TlsError::Other {
                what: format!("{OF_SERVER} is that of an authority (CA:TRUE), and is not itself in the connection's caFile"),
                hint: "put this very certificate into caFile, or give the server a certificate that an authority of caFile signed"
                    .into(),
            };
        }
        let sent: Vec<CertificateFields<'_>> = intermediates
            .iter()
            .filter_map(|der| CertificateFields::read(der))
            .collect();
        if let Some(why) = sent.iter().find_map(CertificateFields::unfit) {
            return unfit(OF_SENT_AUTHORITY, &why);
        }
        let issuers: Vec<&[u8]> = sent.iter().chain([leaf]).map(|fields| fields.issuer).collect();
        let listed = self.listed.iter().filter_map(|der| CertificateFields::read(der));
        let unfit_issuer = listed
            .filter(|authority| issuers.contains(&authority.subject))
            // A listed authority is trusted whoever signed its certificate: only the key matters.
            .find_map(|authority| authority.unfit_key());
        match unfit_issuer {
            Some(why) => unfit(OF_LISTED_AUTHORITY, &why),
            // The authority that signed has the same name as the listed one, and another key.
            None if *error == CertificateError::BadSignature => TlsError::UnknownAuthority,
            None => unreadable(),
        }
    }
}

/// Verifies a certificate that is in `caFile`. No authority has to sign it, and its purpose does not matter: the operator who
/// listed the certificate named this very server. The rules for name, validity period and key are those for every certificate. (A
/// server may show the certificate of an authority here: the owner of that key could sign a certificate for the name anyway.)
fn verify_listed(der: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), TlsError> {
    let leaf = CertificateFields::read(der).ok_or_else(unreadable)?;
    if let Some(why) = leaf.unfit_key() {
        return Err(unfit(OF_SERVER, &why));
    }
    if now.as_secs() > leaf.not_after {
        return Err(expired(OF_SERVER, leaf.not_after, now));
    }
    if now.as_secs() < leaf.not_before {
        return Err(not_valid_yet(OF_SERVER, leaf.not_before, now));
    }
    let parsed = ParsedCertificate::try_from(der).map_err(|_| match leaf.unfit() {
        Some(why) => unfit(OF_SERVER, &why),
        None => unreadable(),
    })?;
    verify_server_name(&parsed, name).map_err(|_| wrong_name(&leaf, name))
}

fn why_nothing_in_common(leaf: &CertificateDer<'_>, asked_for_client: bool) -> TlsError {
    match CertificateFields::read(leaf).and_then(|leaf| leaf.unfit_key()) {
        Some(why) => unfit(OF_SERVER, &why),
        None if asked_for_client => TlsError::WantsClientCertificate,
        None => TlsError::NothingInCommon,
    }
}

/// Wraps podkey's error in an error of the TLS library. `handshake_error` unwraps it.
fn wrapped(error: TlsError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

fn unfit(whose: &str, why: &str) -> TlsError {
    TlsError::Other {
        what: format!("{whose} {why}"),
        hint: format!("issue another one: {SUPPORTED}"),
    }
}

fn unreadable() -> TlsError {
    TlsError::Other {
        what: format!("{OF_SERVER}, or the certificate of one of its authorities, breaks a rule of X.509"),
        hint: "look for critical extensions and name constraints: `openssl x509 -text` shows them".into(),
    }
}

fn expired(whose: &str, not_after: u64, now: UnixTime) -> TlsError {
    TlsError::Time(format!(
        "{whose} expired at {}; the local clock says {}",
        rfc3339(not_after),
        rfc3339(now.as_secs())
    ))
}

fn not_valid_yet(whose: &str, not_before: u64, now: UnixTime) -> TlsError {
    TlsError::Time(format!(
        "{whose} is not valid before {}; the local clock says {}",
        rfc3339(not_before),
        rfc3339(now.as_secs())
    ))
}

/// The certificate has other names, or no name that counts.
fn wrong_name(leaf: &CertificateFields<'_>, name: &ServerName<'_>) -> TlsError {
    let expected = name.to_str().into_owned();
    let presented = leaf.names();
    if !leaf.has_names() {
        return TlsError::Other {
            what: format!("{OF_SERVER} has no subjectAltName, and a common name does not count"),
            hint: format!("issue it with a subjectAltName for {expected}"),
        };
    }
    if matches!(name, ServerName::IpAddress(_)) && presented.iter().any(|name| *name == format!("DNS:{expected}")) {
        return TlsError::Other {
            what: format!("{OF_SERVER} has {expected} as a DNS name, not as an IP address"),
            hint: format!("issue it with the subjectAltName IP:{expected}"),
        };
    }
    TlsError::Name { expected, presented }
}

/// Seconds since 1970 as a time, or as a number where the time is too late for RFC 3339.
fn rfc3339(seconds: u64) -> String {
    const YEAR_10000: u64 = 253_402_300_800;
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
        Some(time) if seconds < YEAR_10000 => humantime::format_rfc3339_seconds(time).to_string(),
        _ => format!("second {seconds}"),
    }
}
