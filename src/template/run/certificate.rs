//! What `pkiCert` gives: the certificate, its key, and its issuer, each as one PEM block.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::template::error::Fault;
use crate::template::run::value::GoMap;
use crate::template::run::value::{Certificate, GoText, GoValue};

/// Reads the data of an answer of `pki/issue` or `pki/sign`.
pub(crate) fn read(data: &GoMap) -> Result<Certificate, Fault> {
    let pem = |name: &str| -> Result<GoText, Fault> {
        match data.get(name) {
            Some(GoValue::Text(text)) => block(text.bytes())
                .map(|b| GoText::new(b, true))
                .ok_or_else(|| Fault::value(format!("the field {name} of the answer is not PEM"))),
            _ => Ok(GoText::new("", true)),
        }
    };
    let certificate = Certificate {
        cert: pem("certificate")?,
        key: pem("private_key")?,
        ca: pem("issuing_ca")?,
    };
    if certificate.cert.bytes().is_empty() {
        return Err(Fault::missing("the answer has no field certificate")
            .hint("pkiCert needs a path such as \"pki/issue/ROLE\""));
    }
    Ok(certificate)
}

/// The first PEM block of a text, written as Go writes one: lines of 64, a line break at the end.
fn block(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (kind, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let body = STANDARD.encode(STANDARD.decode(body).ok()?);
    let mut out = format!("-----BEGIN {kind}-----\n");
    for (i, c) in body.chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push_str(&format!("\n-----END {kind}-----\n"));
    Some(out.into_bytes())
}
