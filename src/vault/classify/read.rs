//! What a refused read means: no right, no such path, a version that is gone.

use std::time::Duration;

use super::{Patience, Pause, Verdict, fatal, has_data_segment};
use crate::vault::error::{Kind, Refusal, VaultError};

/// After a login, nodes that did not take part in it may not know the new token yet.
const TOKEN_SPREADS: Duration = Duration::from_secs(5);

pub(super) fn refused(
    path: &str,
    version: Option<u64>,
    role: &str,
    since_login: Duration,
    refusal: &Refusal,
) -> Verdict {
    let words = refusal.words();
    let not_found = |message: String, hint: &str| fatal(Kind::NotFound, message, hint);
    match (refusal.status, &refusal.gone) {
        (403, _) => {
            let error = VaultError::new(
                Kind::Denied,
                format!("the role {role} may not read {path} ({words})"),
                "add `read` on this path to a policy of the role; a path without a mount is answered the same way",
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
        (404, None) => not_found(
            match (version, refusal.errors.is_empty()) {
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
        (405, _) => not_found(
            format!("{path} cannot be read ({words})"),
            "such a path is written, not read",
        ),
        (401, _) => fatal(
            Kind::Denied,
            format!("the read of {path} was denied ({words})"),
            "is something in front of the server that asks for credentials of its own?",
        ),
        (400, _) if !refusal.errors.is_empty() => {
            fatal(Kind::Denied, format!("the server refuses to read {path} ({words})"), "")
        }
        _ => fatal(
            Kind::NotVault,
            format!("the answer for {path} is no Vault answer: {words}"),
            "is the connection's address that of Vault or OpenBao?",
        ),
    }
}
