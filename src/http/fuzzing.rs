//! The doors of the fuzz targets `http` and `certificate`: tokens, URLs and texts of other servers, and their certificates.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::certificate::CertificateFields;
use super::encode::{encode_path, encode_query};
use super::id_token::fuzzed as fuzzed_id_token;
use super::jwt::Jwt;
use super::proxy::{ProxyVariables, fuzzed_head};
use super::redact::{clean, redact};
use crate::secret::Secret;

/// Stands for a secret in a text, and for the signature of a token.
const CANARY: &str = "canary0123456789canary";

/// A text as the payload of a JWT, as a proxy's URL, as the answer of a proxy or of GitHub, as a page that quotes a token. Laws: a
/// message is one line, bounded, and without the token.
pub fn http(bytes: &[u8]) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let signed = |signature: &str| {
        let token = format!("e30.{}.{signature}", URL_SAFE_NO_PAD.encode(bytes));
        Jwt::new(Zeroizing::new(token.into_bytes()))
    };
    // The law is not "the message has no canary": libFuzzer learns the canary, and makes inputs that have the canary in a claim.
    assert_eq!(
        signed(CANARY).map(|jwt| jwt.identity()),
        signed("another").map(|jwt| jwt.identity()),
        "the signature changes the message"
    );
    let as_it_is = Jwt::new(Zeroizing::new(bytes.to_vec()));
    for jwt in as_it_is.into_iter().chain(signed(CANARY)) {
        let identity = jwt.identity();
        assert!(
            identity.len() < 1300 && !identity.contains(char::is_control),
            "{identity:?}"
        );
        jwt.bound_pod();
        jwt.claim("environment");
        jwt.expired_at(now).map(|at| at.to_string());
        if let Some((left, life)) = jwt.lifetime().and_then(|lifetime| lifetime.left(now)) {
            assert!(left <= life);
        }
    }
    fuzzed_head(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let proxy = ProxyVariables {
        https_proxy: Some(Secret::from(bytes.to_vec())),
        no_proxy: Some(text.to_owned()),
    };
    for host in ["github.com", "ghes.example.com", "::1"] {
        let _ = proxy.proxy_for(host, 443).map(drop);
    }
    fuzzed_id_token(text);
    let encoded: String = encode_path(text).chain(encode_query(text)).collect();
    assert!(encoded.bytes().all(|b| b.is_ascii_graphic()), "{encoded:?}");
    let quoted = format!("{text}{CANARY}{text}");
    let shown = redact(&quoted, &[Secret::from(CANARY.as_bytes().to_vec())]);
    assert!(!shown.contains(CANARY), "{shown}");
    let line = clean(text, 256);
    assert!(line.len() <= 260 && !line.contains(char::is_control), "{line:?}");
}

/// The DER of a certificate. Laws: the fields of messages are bounded; where another parser reads the certificate too, both find the same
/// validity period.
pub fn certificate(bytes: &[u8]) {
    let read = CertificateFields::read(bytes);
    if let Some(fields) = &read {
        let names = fields.names();
        assert!(names.len() <= 11, "{names:?}");
        names
            .iter()
            .for_each(|name| assert!(!name.contains(char::is_control), "{name:?}"));
        fields.unfit();
        fields.unfit_key();
        fields.has_names();
    }
    if let (Some(fields), Ok((_, other))) = (&read, x509_parser::parse_x509_certificate(bytes)) {
        let other = [other.validity().not_before, other.validity().not_after];
        let [not_before, not_after] = other.map(|time| u64::try_from(time.timestamp()).unwrap_or(0));
        assert_eq!((fields.not_before, fields.not_after), (not_before, not_after));
    }
}
