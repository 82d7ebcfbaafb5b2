//! The fields of a certificate, read without trusting it: for messages about certificates that podkey does not accept, and for
//! the names and the validity period of a certificate that is trusted byte for byte. RFC 5280, section 4.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::redact::clean;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// The version number that stands for X.509 version 3.
const VERSION_3: u8 = 2;
/// How many names of a certificate a message has at most.
const MAX_NAMES: usize = 10;

/// The fields of a certificate that podkey looks at, borrowed from its DER.
#[derive(Debug)]
pub(super) struct CertificateFields<'a> {
    version: u8,
    signature: &'a [u8],
    /// The issuer's name, DER.
    pub(super) issuer: &'a [u8],
    /// The subject's name, DER.
    pub(super) subject: &'a [u8],
    /// When the validity period begins, in seconds since 1970.
    pub(super) not_before: u64,
    /// When the validity period ends, in seconds since 1970.
    pub(super) not_after: u64,
    key: Key,
    /// The extension basicConstraints says CA:TRUE.
    pub(super) is_authority: bool,
    /// The content of the extension subjectAltName.
    names: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// An RSA key, by the length of its modulus in bits.
    Rsa(usize),
    /// A key of [`KEYS`], by its name there.
    Named(&'static str),
    Unknown,
}

/// Public keys by the OID of their algorithm, or of their curve: the name, and whether podkey's TLS library (ring) accepts it.
const KEYS: [(&[u8], &str, bool); 12] = [
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
        "a key on the curve P-256",
        true,
    ),
    (&[0x2b, 0x81, 4, 0, 34], "a key on the curve P-384", true),
    (&[0x2b, 0x65, 112], "an Ed25519 key", true),
    (&[0x2b, 0x81, 4, 0, 35], "a key on the curve P-521", false),
    (&[0x2b, 0x81, 4, 0, 33], "a key on the curve P-224", false),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1],
        "a key on the curve P-192",
        false,
    ),
    (&[0x2b, 0x81, 4, 0, 10], "a key on the curve secp256k1", false),
    (
        &[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7],
        "a key on the curve brainpoolP256r1",
        false,
    ),
    (
        &[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 11],
        "a key on the curve brainpoolP384r1",
        false,
    ),
    (
        &[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 13],
        "a key on the curve brainpoolP512r1",
        false,
    ),
    (&[0x2b, 0x65, 113], "an Ed448 key", false),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], "a DSA key", false),
];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
const CURVE: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// Signature algorithms that podkey's TLS library does not accept, by their OIDs.
const UNSUPPORTED_SIGNATURES: [(&[u8], &str); 9] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 2], "MD2 and RSA"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], "MD5 and RSA"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], "SHA-1 and RSA"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14], "SHA-224 and RSA"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], "SHA-1 and ECDSA"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1], "SHA-224 and ECDSA"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], "SHA-512 and ECDSA"),
    (&[0x2b, 0x65, 113], "Ed448"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2], "SHA-256 and DSA"),
];

/// The keys and signatures that podkey's TLS library accepts, for a hint.
pub(crate) const SUPPORTED: &str = "podkey accepts RSA keys of 2048 to 8192 bits and keys on P-256, P-384 or Ed25519, signed with SHA-256 or SHA-384 (with RSA also SHA-512)";

impl<'a> CertificateFields<'a> {
    /// Reads a certificate. None where the bytes are not the DER of a certificate.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut rest = der;
        let mut certificate = take(&mut rest, SEQUENCE)?;
        let mut rest = take(&mut certificate, SEQUENCE)?;
        let version = match rest.first()? {
            &VERSION => *take(&mut take(&mut rest, VERSION)?, INTEGER)?.last()?,
            _ => 0,
        };
        take(&mut rest, INTEGER)?;
        let signature = take(&mut take(&mut rest, SEQUENCE)?, OID)?;
        let issuer = take(&mut rest, SEQUENCE)?;
        let mut validity = take(&mut rest, SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = take(&mut rest, SEQUENCE)?;
        let key = key(take(&mut rest, SEQUENCE)?)?;
        let mut read = Self {
            version,
            signature,
            issuer,
            subject,
            not_before,
            not_after,
            key,
            is_authority: false,
            names: None,
        };
        while let Some((tag, mut content)) = element(&mut rest) {
            if tag == EXTENSIONS {
                read.extensions(take(&mut content, SEQUENCE)?);
            }
        }
        Some(read)
    }

    fn extensions(&mut self, mut all: &'a [u8]) {
        const OCTET_STRING: u8 = 0x04;
        const BOOLEAN: u8 = 0x01;
        const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
        const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
        while let Some(mut extension) = take(&mut all, SEQUENCE) {
            let Some(oid) = take(&mut extension, OID) else { return };
            if extension.first() == Some(&BOOLEAN) {
                // The flag `critical`.
                element(&mut extension);
            }
            let content = take(&mut extension, OCTET_STRING).and_then(|mut value| take(&mut value, SEQUENCE));
            let Some(mut content) = content else { continue };
            match oid {
                SUBJECT_ALT_NAME => self.names = Some(content),
                BASIC_CONSTRAINTS => {
                    self.is_authority = take(&mut content, BOOLEAN).is_some_and(|value| value != [0]);
                }
                _ => {}
            }
        }
    }

    /// Whether the certificate has a subjectAltName. Without that extension no name in the certificate counts.
    pub(super) fn has_names(&self) -> bool {
        self.names.is_some()
    }

    /// The DNS names and IP addresses in the subjectAltName, at most [`MAX_NAMES`].
    pub(super) fn names(&self) -> Vec<String> {
        const DNS: u8 = 0x82;
        const IP: u8 = 0x87;
        let mut rest = self.names.unwrap_or_default();
        let all = std::iter::from_fn(|| element(&mut rest));
        let known = all.filter_map(|(tag, content)| match tag {
            // A DNS name that looks like an address does not match that address.
            DNS => Some(match clean(&String::from_utf8_lossy(content), 256) {
                name if name.parse::<IpAddr>().is_ok() => format!("DNS:{name}"),
                name => name,
            }),
            IP => match content.len() {
                4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(content).ok()?).to_string()),
                16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(content).ok()?).to_string()),
                _ => None,
            },
            _ => None,
        });
        known.take(MAX_NAMES).collect()
    }

    /// Why podkey does not accept the key: the end of a sentence that begins with "the certificate". None where it does.
    pub(super) fn unfit_key(&self) -> Option<String> {
        match self.key {
            Key::Rsa(bits) if (2048..=8192).contains(&bits) => None,
            Key::Rsa(bits) => Some(format!("has an RSA key of {bits} bits")),
            Key::Named(name) => match KEYS.iter().find(|(_, known, _)| *known == name) {
                Some((_, _, true)) => None,
                _ => Some(format!("has {name}")),
            },
            Key::Unknown => Some("has a key of a kind that podkey does not know".to_owned()),
        }
    }

    /// Why podkey does not accept the certificate, whoever signed it: version, key or signature algorithm. The end of a sentence,
    /// as in [`Self::unfit_key`].
    pub(super) fn unfit(&self) -> Option<String> {
        if self.version != VERSION_3 {
            return Some(format!(
                "is an X.509 certificate of version {}, not 3",
                self.version.saturating_add(1)
            ));
        }
        let signature = UNSUPPORTED_SIGNATURES.iter().find(|(oid, _)| *oid == self.signature);
        self.unfit_key()
            .or_else(|| signature.map(|(_, name)| format!("is signed with {name}")))
    }
}

/// The key in a subjectPublicKeyInfo.
fn key(mut info: &[u8]) -> Option<Key> {
    let mut algorithm = take(&mut info, SEQUENCE)?;
    let oid = take(&mut algorithm, OID)?;
    let mut bits = take(&mut info, BIT_STRING)?.get(1..)?;
    if oid == RSA || oid == RSA_PSS {
        let modulus = take(&mut take(&mut bits, SEQUENCE)?, INTEGER)?;
        let first = modulus.iter().position(|byte| *byte != 0)?;
        let modulus = modulus.get(first..)?;
        let leading = modulus.first()?.leading_zeros() as usize;
        return Some(Key::Rsa(modulus.len() * 8 - leading));
    }
    // A curve whose parameters are written out has no name, and nobody should use such a curve.
    let named = if oid == CURVE {
        take(&mut algorithm, OID)
    } else {
        Some(oid)
    };
    let known = named.and_then(|named| KEYS.iter().find(|(oid, _, _)| *oid == named));
    Some(known.map_or(Key::Unknown, |(_, name, _)| Key::Named(name)))
}

/// A UTCTime or GeneralizedTime, in seconds since 1970. Earlier times are 0.
fn time(rest: &mut &[u8]) -> Option<u64> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let (tag, content) = element(rest)?;
    let digits = content.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0_u64, |n, digit| n * 10 + u64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => match number(&digits[..2]) {
            year @ ..50 => (2000 + year, &digits[2..]),
            year => (1900 + year, &digits[2..]),
        },
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !fits {
        return None;
    }
    let Some(days) = days_since_1970(year, month, day) else {
        return Some(0);
    };
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// In the Gregorian calendar. None before 1970. <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)
}

/// The content of the next DER element, if that element has this tag.
fn take<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let mut ahead = *rest;
    let (found, content) = element(&mut ahead)?;
    if found != tag {
        return None;
    }
    *rest = ahead;
    Some(content)
}

/// The tag and the content of the next DER element.
fn element<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, after) = rest.split_first()?;
    let (first, after) = after.split_first()?;
    let (length, after) = match first {
        0..=0x7f => (usize::from(*first), after),
        0x81..=0x84 => {
            let (bytes, after) = after.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0_usize, |n, byte| n << 8 | usize::from(*byte)), after)
        }
        _ => return None,
    };
    let (content, after) = after.split_at_checked(length)?;
    *rest = after;
    Some((*tag, content))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(["vault.example.com".to_owned(), "10.1.2.3".to_owned()]).unwrap();
        change(&mut params);
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .to_vec()
    }

    #[test]
    fn names_times_and_kinds_are_read() {
        let der = made(|params| {
            params.not_before = date_time_ymd(2019, 2, 28);
            params.not_after = date_time_ymd(2060, 3, 1);
        });
        let leaf = CertificateFields::read(&der).unwrap();
        assert_eq!(leaf.names(), ["vault.example.com", "10.1.2.3"]);
        assert_eq!((leaf.not_before, leaf.not_after), (1_551_312_000, 2_845_324_800));
        assert!(leaf.issuer == leaf.subject && leaf.has_names() && !leaf.is_authority);
        assert_eq!((leaf.unfit(), leaf.unfit_key()), (None, None));
        let der = made(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        assert!(CertificateFields::read(&der).unwrap().is_authority);
        let der = made(|params| params.subject_alt_names.clear());
        assert!(!CertificateFields::read(&der).unwrap().has_names());
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let read = |tag: u8, text: &str| {
            let der = [&[tag, text.len() as u8], text.as_bytes()].concat();
            time(&mut der.as_slice())
        };
        for (tag, text, seconds) in [
            (0x17, "700101000000Z", Some(0)),
            (0x17, "691231235959Z", Some(0)),
            (0x17, "491231235959Z", Some(2_524_607_999)),
            (0x17, "500101000000Z", Some(0)),
            (0x18, "20000229120000Z", Some(951_825_600)),
            (0x18, "99991231235959Z", Some(253_402_300_799)),
            (0x18, "00000101000000Z", Some(0)),
            (0x17, "7001010000Z", None),
            (0x17, "70010100000aZ", None),
            (0x17, "701301000000Z", None),
            (0x17, "7001010000000", None),
            (0x18, "700101000000Z", None),
        ] {
            assert_eq!(read(tag, text), seconds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = CertificateFields::read(&bytes);
        }

        #[test]
        fn no_changed_byte_and_no_cut_makes_the_reader_panic(at in 0..600_usize, byte: u8, cut: bool) {
            let mut der = made(|_| ());
            let at = at % der.len();
            der[at] = byte;
            if cut {
                der.truncate(at);
            }
            if let Some(read) = CertificateFields::read(&der) {
                let _ = (read.names(), read.unfit());
            }
        }
    }
}
