//! What a refused read means: no right, no such path, a version that is gone.

use std::time::Duration;

use super::{Patience, Pause, Verdict, fatal, has_data_segment, verb};
use crate::vault::Wanted;
use crate::vault::error::{Kind, Refusal, VaultError};

/// After a login, nodes that did not take part in it may not know the new token yet.
const TOKEN_SPREADS: Duration = Duration::from_secs(5);

pub(super) fn refused(wanted: &Wanted, role: &str, since_login: Duration, refusal: &Refusal) -> Verdict {
    let (path, verb, words) = (wanted.path.as_str(), verb(wanted), refusal.words());
    let not_found = |message: String, hint: &str| fatal(Kind::NotFound, message, hint);
    match (refusal.status, &refusal.gone) {
        (403, _) => {
            let error = VaultError::new(
                Kind::Denied,
                format!("the role {role} may not {verb} {path} ({words})"),
                format!(
                    "add `{}` on this path to a policy of the role; a path without a mount is answered the same way",
                    if wanted.data.is_none() { "read" } else { "update" }
                ),
            );
            match TOKEN_SPREADS.checked_sub(since_login) {
                Some(left) => Verdict::Retry(Pause::Jitter, Patience::More(left), error),
                None => Verdict::Fatal(error),
            }
        }
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
        (404, None) if refusal.from_vault => not_found(
            match (wanted.version, refusal.errors.is_empty()) {
                (_, false) => format!("no secret at {path} ({words})"),
                (Some(version), true) => format!("no version {version} of a secret at {path}"),
                (None, true) => format!("no secret at {path}"),
            },
            if has_data_segment(path) {
                "check the path; if the mount is a KV v1 engine, its paths have no /data/"
            } else {
                "check the path"
            },
        ),
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
        (401, _) => fatal(
            Kind::Denied,
            format!("the {verb} of {path} was denied ({words})"),
            "is something in front of the server that asks for credentials of its own?",
        ),
        (400, _) if !refusal.errors.is_empty() => {
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
        _ => fatal(
            Kind::NotVault,
            format!("the answer for {path} is no Vault answer: {words}"),
            "is the connection's address that of Vault or OpenBao?",
        ),
    }
}
