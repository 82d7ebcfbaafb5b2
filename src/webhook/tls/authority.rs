//! Makes certificates: the certificate authority that all replicas share, and each replica's own leaf.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::{ServablePair, validity};
use crate::cluster::CLOCK_ERROR;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The validity of a new authority. podkey makes a successor when a third of this time is left.
pub(super) const CA_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The validity of a leaf, unless its authority expires before. podkey makes the next leaf when 30 to 40 per cent of it are left.
pub(super) const LEAF_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// An authority's certificate. Ordered by expiry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CaCertificate {
    pub(super) not_after: SystemTime,
    pub(super) not_before: SystemTime,
    der: Vec<u8>,
}

impl CaCertificate {
    /// Fails if the certificate cannot verify a leaf. The error is the end of a sentence that begins with the certificate.
    pub(super) fn parse(der: Vec<u8>) -> Result<Self, &'static str> {
        let Ok((rest, parsed)) = x509_parser::parse_x509_certificate(&der) else {
            return Err("is not an X.509 certificate");
        };
        let signs = match parsed.key_usage() {
            Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
            Err(_) => false,
        };
        if !rest.is_empty() || !parsed.is_ca() || !signs {
            return Err("is not a CA certificate");
        }
        let (not_before, not_after) = validity(&parsed);
        Ok(Self {
            not_after,
            not_before,
            der,
        })
    }

    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Whether the certificate has expired even if this replica's clock is ahead by [`CLOCK_ERROR`].
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.not_after + CLOCK_ERROR <= now
    }

    pub(super) fn der(&self) -> CertificateDer<'_> {
        CertificateDer::from(self.der.as_slice())
    }

    pub(super) fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }
}

impl fmt::Debug for CaCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CA until {}", humantime::format_rfc3339_seconds(self.not_after))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

/// A certificate authority: its certificate, and the key that signs.
#[derive(Clone)]
pub(super) struct Authority {
    pub(super) certificate: CaCertificate,
    /// PKCS #8.
    key: Arc<Zeroizing<Vec<u8>>>,
}

impl PartialEq for Authority {
    /// Compares only the certificates: a certificate belongs to exactly one key.
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.certificate.fmt(f)
    }
}

impl Authority {
    pub(super) fn generate(now: SystemTime) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // A random name: by the name a verifier finds the issuer among several CAs.
        let name = format!("podkey CA {:016x}", fastrand::u64(..));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // An API server whose clock is behind accepts the certificate too.
        params.not_before = (now - CLOCK_ERROR).into();
        params.not_after = (now + CA_LIFETIME).into();
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self {
            certificate: CaCertificate::parse(certificate.to_vec())
                .map_err(|_| rcgen::Error::CouldNotParseCertificate)?,
            key: Arc::new(Zeroizing::new(key.serialize_der())),
        })
    }

    /// Parses two PEM texts. The error names the wrong text and the problem, and quotes nothing.
    pub(super) fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, &'static str> {
        let certificate = CertificateDer::from_pem_slice(certificate).map_err(|_| "has no certificate in PEM form")?;
        let certificate = CaCertificate::parse(certificate.to_vec())?;
        let Ok(PrivateKeyDer::Pkcs8(der)) = PrivateKeyDer::from_pem_slice(key) else {
            return Err("has no private key in PEM form (PKCS #8)");
        };
        let key = Zeroizing::new(der.secret_pkcs8_der().to_vec());
        let pair = KeyPair::try_from(key.as_slice())
            .map_err(|_| "has a private key of a kind that podkey does not support")?;
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&certificate.der) else {
            return Err("is not an X.509 certificate");
        };
        if parsed.public_key().subject_public_key.data != pair.der_bytes() {
            return Err("has a private key that does not belong to the certificate");
        }
        Ok(Self {
            certificate,
            key: Arc::new(key),
        })
    }

    pub(super) fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem("PRIVATE KEY", &self.key))
    }

    /// Makes a leaf for these DNS names. The leaf's validity begins with the authority's: an API server whose clock is
    /// behind accepts the leaf too.
    pub(super) fn sign(&self, names: &[String], now: SystemTime) -> Result<Leaf, rcgen::Error> {
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der(), KeyPair::try_from(self.key.as_slice())?)?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "podkey");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let not_after = self.certificate.not_after.min(now + LEAF_LIFETIME);
        params.not_before = self.certificate.not_before.into();
        params.not_after = not_after.into();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = ring::sign::any_ecdsa_type(&key).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        // At 60 to 70 per cent of the leaf's life, so that not all replicas renew at once.
        let life = not_after.duration_since(now).unwrap_or_default();
        let renew_after = now + life.mul_f64(0.6 + 0.1 * fastrand::f64());
        Ok(Leaf {
            issuer: self.certificate.clone(),
            renew_after,
            served: ServablePair {
                key: Arc::new(CertifiedKey::new(vec![certificate], key)),
                not_after,
            },
        })
    }

    /// Whether it is time for a successor: about a third of the authority's life is left. `days_earlier` differs between
    /// replicas, so that one replica makes the successor and the other replicas find it.
    pub(super) fn is_ageing(&self, now: SystemTime, days_earlier: f64) -> bool {
        self.certificate.not_after <= now + CA_LIFETIME / 3 + DAY.mul_f64(days_earlier)
    }
}

/// A replica's own certificate, with its key.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) issuer: CaCertificate,
    pub(super) renew_after: SystemTime,
    pub(super) served: ServablePair,
}

impl Leaf {
    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        self.issuer.not_before <= now && now < self.served.not_after
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use x509_parser::certificate::X509Certificate;

    use super::*;

    fn parsed(der: &[u8]) -> X509Certificate<'_> {
        x509_parser::parse_x509_certificate(der).unwrap().1
    }

    #[test]
    fn certificates_have_what_api_servers_check() {
        let now = UNIX_EPOCH + 20_000 * DAY;
        let authority = Authority::generate(now).unwrap();
        let leaf = authority.sign(&["a.b.svc".to_owned(), "a".to_owned()], now).unwrap();
        let ca = authority.certificate.der();
        let (ca, leaf_der) = (parsed(&ca), &leaf.served.key.cert[0]);
        let certificate = parsed(leaf_der);
        let days = |certificate: &X509Certificate<'_>| {
            let (not_before, not_after) = validity(certificate);
            let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs() / 86400;
            (since(not_before), since(not_after))
        };
        assert_eq!(days(&ca), (20_000 - 45, 20_000 + 365));
        assert_eq!(days(&certificate), (20_000 - 45, 20_007));
        assert!(ca.is_ca() && !certificate.is_ca());
        assert_ne!(ca.raw_serial(), certificate.raw_serial());
        assert_eq!(certificate.issuer(), ca.subject());
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 2);
        assert!(certificate.extended_key_usage().unwrap().unwrap().value.server_auth);
        let oids: Vec<_> = certificate
            .extensions()
            .iter()
            .map(|extension| extension.oid.to_id_string())
            .collect();
        assert!(
            oids.contains(&"2.5.29.35".to_owned()),
            "authority key identifier: {oids:?}"
        );
        // Between 60 and 70 per cent.
        assert!((now + 4 * DAY..now + 5 * DAY).contains(&leaf.renew_after));

        // A leaf never outlives its authority.
        let late = now + 360 * DAY;
        assert_eq!(
            authority.sign(&["a".to_owned()], late).unwrap().served.not_after,
            authority.certificate.not_after
        );
    }

    #[test]
    fn each_authority_has_a_unique_name_and_needs_a_successor_at_two_thirds_of_its_life() {
        let now = UNIX_EPOCH + 20_000 * DAY;
        let (one, other) = (Authority::generate(now).unwrap(), Authority::generate(now).unwrap());
        assert_ne!(
            parsed(&one.certificate.der()).subject(),
            parsed(&other.certificate.der()).subject()
        );
        assert!(!one.is_ageing(now + 242 * DAY, 0.0));
        assert!(one.is_ageing(now + 244 * DAY, 0.0));
        assert!(!one.certificate.is_over(now + 400 * DAY) && one.certificate.is_over(now + 410 * DAY));
    }

    #[test]
    fn no_key_is_printed() {
        let authority = Authority::generate(SystemTime::now()).unwrap();
        let leaf = authority.sign(&["a".to_owned()], SystemTime::now()).unwrap();
        let bytes = format!("{:?}", &authority.key[40..60]);
        assert!(!format!("{authority:?} {leaf:?}").contains(bytes.trim_matches(['[', ']'])));
    }
}
