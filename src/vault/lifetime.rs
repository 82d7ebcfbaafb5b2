//! How long a secret without a lease lives, where its own data says so: the expiry of a certificate, compared with the server's
//! clock in the same answer. The local clock has no part in it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use ::http::header::{self, HeaderMap};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// The fields with which engines state the expiry.
#[derive(Deserialize)]
struct CertificateData<'a> {
    /// pki: the expiry of the certificate, in seconds since 1970.
    /// <https://openbao.org/api-docs/secret/pki/#generate-certificate-and-key>
    #[serde(default)]
    expiration: Option<u64>,
    /// ssh: the certificate. <https://openbao.org/api-docs/secret/ssh/#sign-ssh-key>
    #[serde(borrow, default)]
    signed_key: Option<Cow<'a, str>>,
}

/// How long the secret still lives at the time of the answer, at least a second. None where it does not expire, or where the
/// answer does not say when.
pub(super) fn remaining(data: &str, headers: &HeaderMap) -> Option<Duration> {
    let certificate: CertificateData<'_> = serde_json::from_str(data).ok()?;
    let end = match certificate.signed_key {
        None => certificate.expiration?,
        Some(key) => ssh_end(&key)?,
    };
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end))?;
    let answered = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    let left = end.duration_since(answered).unwrap_or_default();
    Some(left.max(Duration::from_secs(1)))
}

/// The expiry of an OpenSSH certificate, in seconds since 1970. None where it does not expire.
/// <https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.certkeys>
pub(super) fn ssh_end(key: &str) -> Option<u64> {
    let blob = STANDARD.decode(key.split_ascii_whitespace().nth(1)?).ok()?;
    let mut rest = blob.as_slice();
    let kind = text(&mut rest)?;
    let key_parts = match kind.strip_suffix(b"-cert-v01@openssh.com")? {
        b"ssh-ed25519" => 1,
        b"ssh-rsa" | b"sk-ssh-ed25519" => 2,
        b"sk-ecdsa-sha2-nistp256" => 3,
        b"ssh-dss" => 4,
        curve if curve.starts_with(b"ecdsa-sha2-nistp") => 2,
        _ => return None,
    };
    // The nonce, and the parts of the key.
    for _ in 0..1 + key_parts {
        text(&mut rest)?;
    }
    // The serial number (8 bytes), and the type of certificate (4 bytes).
    rest = rest.get(8 + 4..)?;
    let (_id, _principals) = (text(&mut rest)?, text(&mut rest)?);
    let _begin = number(&mut rest)?;
    number(&mut rest).filter(|end| *end != u64::MAX)
}

/// Takes a string, which stands behind its length.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (text, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = behind;
    Some(text)
}

/// Takes a number of 8 bytes.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(date: &'static str) -> HeaderMap {
        [(header::DATE, ::http::HeaderValue::from_static(date))]
            .into_iter()
            .collect()
    }

    /// 1700000000.
    const NOW: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

    #[test]
    fn a_certificate_expires_by_the_servers_clock() {
        let seconds = |data: &str| remaining(data, &at(NOW)).map(|left| left.as_secs());
        assert_eq!(seconds(r#"{"certificate":"x","expiration":1700003600}"#), Some(3600));
        assert_eq!(seconds(r#"{"expiration":1600000000}"#), Some(1), "it has expired");
        assert_eq!(seconds(r#"{"expiration":18446744073709551615}"#), None);
        for none in [
            r#"{"certificate":"x"}"#,
            r#"{"expiration":"1700003600"}"#,
            r#"{"expiration":-1}"#,
            r#"{"signed_key":"x"}"#,
            r#"{"signed_key":"ssh-rsa-cert-v01@openssh.com AAAA"}"#,
            "[]",
        ] {
            assert_eq!(seconds(none), None, "{none}");
        }
        let pki = r#"{"expiration":1700003600}"#;
        assert_eq!(remaining(pki, &HeaderMap::new()), None, "no clock of the server");
        assert_eq!(remaining(pki, &at("yesterday")), None);
    }

    fn ssh(kind: &str, key_parts: usize, end: u64) -> String {
        let mut blob = Vec::new();
        let mut put = |text: &[u8]| {
            blob.extend((text.len() as u32).to_be_bytes());
            blob.extend(text);
        };
        put(kind.as_bytes());
        (0..=key_parts).for_each(|_| put(b"part"));
        blob.extend([0; 12]);
        for text in ["id", "principals"] {
            blob.extend((text.len() as u32).to_be_bytes());
            blob.extend(text.bytes());
        }
        blob.extend(1_u64.to_be_bytes());
        blob.extend(end.to_be_bytes());
        blob.extend([0; 40]);
        format!("{kind} {} comment\n", STANDARD.encode(blob))
    }

    #[test]
    fn an_ssh_certificate_states_its_expiry() {
        for (kind, key_parts) in [
            ("ssh-rsa", 2),
            ("ssh-ed25519", 1),
            ("ecdsa-sha2-nistp384", 2),
            ("sk-ssh-ed25519", 2),
            ("sk-ecdsa-sha2-nistp256", 3),
            ("ssh-dss", 4),
        ] {
            let kind = format!("{kind}-cert-v01@openssh.com");
            assert_eq!(
                ssh_end(&ssh(&kind, key_parts, 1_700_000_060)),
                Some(1_700_000_060),
                "{kind}"
            );
            assert_eq!(
                ssh_end(&ssh(&kind, key_parts, u64::MAX)),
                None,
                "{kind}: does not expire"
            );
        }
        assert_eq!(ssh_end(&ssh("ssh-rsa", 2, 1)), None, "not a certificate");
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_server_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ssh_end(&format!("x {}", STANDARD.encode(&bytes)));
            let mut whole = b"\0\0\0\x23ssh-ed25519-cert-v01@openssh.com".to_vec();
            whole.extend(bytes);
            let _ = ssh_end(&format!("x {}", STANDARD.encode(whole)));
        }
    }
}
