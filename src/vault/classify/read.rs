//! What a refused read means: no right, no such path, a version that is gone; and answers that are the server's, but no JSON.

use std::time::Duration;

use super::{Patience, Pause, Verdict, fatal, has_data_segment, verb};
use crate::vault::Wanted;
use crate::vault::error::{Head, Kind, Meaning, Refusal, VaultError};

/// After a login, nodes that did not take part in it may not know the new token yet.
const TOKEN_SPREADS: Duration = Duration::from_secs(5);

pub(super) fn refused(wanted: &Wanted, role: &str, since_login: Duration, refusal: &Refusal) -> Verdict {
    let (path, verb, words) = (wanted.path.as_str(), verb(wanted), refusal.words());
    let not_found = |message: String, hint: &str| fatal(Kind::NotFound, message, hint);
    match (refusal.head.status, &refusal.gone) {
        _ if refusal.meaning == Some(Meaning::Unversioned) => fatal(
            Kind::NotReadable,
            format!(
                "there are no versions at {path}, and version {} is asked for",
                wanted.version.unwrap_or_default()
            ),
            "only secrets of a KV v2 engine have versions: leave `version` out",
        ),
        (403, _) => denied(wanted, role, since_login, &words),
        (404, Some(gone)) => not_found(
            format!(
                "version {} of {path} was {}{}",
                gone.version,
                if gone.destroyed { "destroyed" } else { "deleted" },
                match gone.at.as_str() {
                    "" => String::new(),
                    at => format!(" at {at}"),
                }
            ),
            if gone.destroyed {
                "write the secret again, or ask for another version"
            } else {
                "`vault kv undelete` brings it back; or ask for another version"
            },
        ),
        (404, None) if refusal.warnings.iter().any(|w| w.contains("versioned K/V")) => not_found(
            format!("no secret at {path}"),
            "the mount is a KV v2 engine: its paths are written <mount>/data/<secret>",
        ),
        (404, None) if refusal.says("no handler for route") => fatal(
            Kind::NoEngine,
            format!("no secrets engine is mounted at {path} ({words})"),
            "check the path, and the connection's namespace",
        ),
        (404, None) if refusal.errors.is_empty() => {
            let message = match wanted.version {
                Some(version) => format!("no version {version} at {path}, or no secret at all"),
                None => format!("no secret at {path}"),
            };
            let hint = if wanted.version.is_some() {
                "check path and version"
            } else if has_data_segment(path) {
                "check the path; if the mount is a KV v1 engine, its paths have no /data/"
            } else {
                "check the path"
            };
            Verdict::Fatal(VaultError::new(Kind::NotFound, message, hint).open())
        }
        (404, None) => not_found(format!("no secret at {path} ({words})"), "check the path"),
        // Not as if it were missing: `ignore-not-found` would skip what can never be delivered.
        (405, _) => fatal(
            Kind::NotReadable,
            format!(
                "{path} cannot be {} ({words})",
                if wanted.data.is_none() { "read" } else { "written" }
            ),
            match wanted.data {
                None => "such a path is written, not read: say with what in the entry's `data`",
                Some(_) => "such a path is read: leave `data` out",
            },
        ),
        (201..300, _) => fatal(
            Kind::NotReadable,
            format!("the write of {path} was answered with no data"),
            "only a path whose answer is a secret can be delivered, such as pki/issue/<role>",
        ),
        (401, _) => fatal(Kind::Denied, format!("the {verb} of {path} was denied ({words})"), ""),
        _ => {
            let hint = match wanted.data {
                None => "",
                Some(_) => "correct the entry's `data`, or what the engine's role allows",
            };
            fatal(
                Kind::Refused,
                format!("the server refuses to {verb} {path} ({words})"),
                hint,
            )
        }
    }
}

/// No policy of the role allows it; what else that may mean is asked afterwards, where the client token allows one more use.
fn denied(wanted: &Wanted, role: &str, since_login: Duration, words: &str) -> Verdict {
    let path = wanted.path.as_str();
    let hint = match wanted.data {
        None => "add `read` on this path to a policy of the role; a path without a mount is answered the same way",
        Some(_) => {
            "add `update` on this path to a policy of the role; where a policy has it, its allowed_parameters, denied_parameters or \
             required_parameters refuse the entry's `data`"
        }
    };
    let error = VaultError::new(
        Kind::Denied,
        format!("the role {role} may not {} {path} ({words})", verb(wanted)),
        hint,
    )
    .open();
    match TOKEN_SPREADS.checked_sub(since_login) {
        Some(left) => Verdict::Retry(Pause::Jitter, Patience::More(left), error),
        None => Verdict::Fatal(error),
    }
}

/// A success without JSON that the server itself gives: some endpoints answer with a certificate or a key as it is.
pub(super) fn raw(wanted: &Wanted, head: &Head) -> Option<Verdict> {
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
    let path = wanted.path.as_str();
    let instead = instead_of_raw(path);
    let known = TYPES.iter().any(|known| head.content_type.starts_with(known));
    // A key comes as text/plain, and an engine without a certificate answers with nothing.
    let plain = ["", "text/plain"]
        .iter()
        .any(|plain| head.content_type.split(';').next() == Some(plain));
    let is_raw = known || plain && instead.is_some() && !has_data_segment(path);
    if !is_raw {
        return None;
    }
    Some(fatal(
        Kind::NotVault,
        format!("{path} answers raw, without JSON and so without fields: {head}"),
        match instead {
            Some((path, field)) => format!("read {path} instead, with the key `{field}`"),
            None => {
                "podkey delivers fields of JSON answers: look for an endpoint of this engine that has the same in JSON"
                    .into()
            }
        },
    ))
}

/// The endpoint with JSON, and its field, that has what a raw one of the engines pki and ssh answers with.
fn instead_of_raw(path: &str) -> Option<(String, &'static str)> {
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
