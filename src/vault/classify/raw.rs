//! Successes of the server without JSON: some endpoints of the engines pki and ssh answer with the certificate or key itself.

use super::{Classified, give_up};
use crate::http::ResponseHead;
use crate::vault::error::VaultErrorKind;
use crate::vault::wanted::{Wanted, has_data_segment};

/// Content types that only such endpoints have.
const TYPES: [&str; 8] = [
    "application/pem-certificate-chain",
    "application/pkix-cert",
    "application/pkix-crl",
    "application/x-pem-file",
    "application/pkcs7-mime",
    "application/ocsp-response",
    "application/jwk-set+json",
    "application/jwt",
];

/// None: the answer is not one of such an endpoint.
pub(super) fn decide(wanted: &Wanted, head: &ResponseHead) -> Option<Classified> {
    let path = wanted.path.as_str();
    let instead = with_json(path);
    let known = TYPES.iter().any(|known| head.content_type.starts_with(known));
    // A key comes as text/plain, and an engine without a certificate answers with an empty body.
    let plain = ["", "text/plain"]
        .iter()
        .any(|plain| head.content_type.split(';').next() == Some(plain));
    let is_raw = known || plain && instead.is_some() && !has_data_segment(path);
    is_raw.then(|| {
        give_up(
            VaultErrorKind::NotVault,
            format!("{path} answers raw, without JSON and so without fields: {head}"),
            match instead {
                Some((path, field)) => format!("read {path} instead, with the key `{field}`"),
                None => {
                    "podkey delivers fields of JSON answers: look for an endpoint of this engine that has the same in JSON"
                        .into()
                }
            },
        )
    })
}

/// The endpoint, and its field, that has in JSON what a raw endpoint answers with.
fn with_json(path: &str) -> Option<(String, &'static str)> {
    const RAW: [(&str, &str, &str); 10] = [
        ("/ca/pem", "/cert/ca", "certificate"),
        ("/ca", "/cert/ca", "certificate"),
        ("/ca_chain", "/cert/ca_chain", "certificate"),
        ("/crl/pem", "/cert/crl", "certificate"),
        ("/crl/delta/pem", "/cert/delta-crl", "certificate"),
        ("/crl/delta", "/cert/delta-crl", "certificate"),
        ("/crl", "/cert/crl", "certificate"),
        ("/raw/pem", "", "certificate"),
        ("/raw", "", "certificate"),
        ("/public_key", "/config/ca", "public_key"),
    ];
    if path.contains("/issuer/") {
        let (issuer, _) = path
            .rsplit_once('/')
            .filter(|(_, form)| ["der", "pem"].contains(form))?;
        return Some(match issuer.ends_with("/crl") {
            true => (issuer.to_owned(), "crl"),
            false => (format!("{issuer}/json"), "certificate"),
        });
    }
    RAW.iter()
        .find_map(|(raw, json, field)| Some((format!("{}{json}", path.strip_suffix(raw)?), *field)))
}
