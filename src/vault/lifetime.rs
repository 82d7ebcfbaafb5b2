//! How long a secret without a lease lives, where its own data tells: a certificate's end, against the server's clock in the
//! very answer. Our own clock has no part in it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap};
use serde::Deserialize;

/// What the engines say that make such secrets.
#[derive(Deserialize)]
struct Told<'a> {
    /// pki: when the certificate ends, in seconds since 1970.
    /// <https://openbao.org/api-docs/secret/pki/#generate-certificate-and-key>
    #[serde(default)]
    expiration: Option<u64>,
    /// ssh: the certificate itself. <https://openbao.org/api-docs/secret/ssh/#sign-ssh-key>
    #[serde(borrow, default)]
    signed_key: Option<Cow<'a, str>>,
}

/// What is left of it at the time of the answer, at least a second. None: it has no end, or the answer does not tell.
pub(super) fn told(data: &str, headers: &HeaderMap) -> Option<Duration> {
    let told: Told<'_> = serde_json::from_str(data).ok()?;
    let end = match told.signed_key {
        None => told.expiration?,
        Some(key) => ssh_end(&key)?,
    };
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end))?;
    let answered = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    let left = end.duration_since(answered).unwrap_or_default();
    Some(left.max(Duration::from_secs(1)))
}

/// When an OpenSSH certificate ends, in seconds since 1970; none where it never does.
/// <https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.certkeys>
fn ssh_end(key: &str) -> Option<u64> {
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
    // The nonce, and the key.
    for _ in 0..1 + key_parts {
        text(&mut rest)?;
    }
    // Its number, and whom it is for.
    rest = rest.get(8 + 4..)?;
    let (_id, _principals) = (text(&mut rest)?, text(&mut rest)?);
    let _begin = number(&mut rest)?;
    number(&mut rest).filter(|end| *end != u64::MAX)
}

/// A text behind its length.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (text, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = behind;
    Some(text)
}

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
        [(header::DATE, http::HeaderValue::from_static(date))]
            .into_iter()
            .collect()
    }

    /// 1700000000.
    const NOW: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

    #[test]
    fn a_certificate_ends_by_the_servers_own_clock() {
        let seconds = |data: &str| told(data, &at(NOW)).map(|left| left.as_secs());
        assert_eq!(seconds(r#"{"certificate":"x","expiration":1700003600}"#), Some(3600));
        assert_eq!(seconds(r#"{"expiration":1600000000}"#), Some(1), "it is over");
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
        assert_eq!(told(pki, &HeaderMap::new()), None, "whose clock?");
        assert_eq!(told(pki, &at("yesterday")), None);
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
    fn an_ssh_certificate_has_its_end_in_it() {
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
            assert_eq!(ssh_end(&ssh(&kind, key_parts, u64::MAX)), None, "{kind}: for ever");
        }
        assert_eq!(ssh_end(&ssh("ssh-rsa", 2, 1)), None, "no certificate");
    }

    proptest! {
        #[test]
        fn nothing_that_a_server_sends_is_more_than_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ssh_end(&format!("x {}", STANDARD.encode(&bytes)));
            let mut whole = b"\0\0\0\x23ssh-ed25519-cert-v01@openssh.com".to_vec();
            whole.extend(bytes);
            let _ = ssh_end(&format!("x {}", STANDARD.encode(whole)));
        }
    }
}
