//! What a refused read or write means: no permission, no such path, or a version that is gone.

use std::time::Duration;

use super::{Classified, give_up, verb};
use crate::http::{Pause, RetryDecision, RetryWindow};
use crate::vault::error::{VaultError, VaultErrorKind};
use crate::vault::error_response::{ErrorResponse, GoneVersion, Meaning};
use crate::vault::wanted::{Wanted, has_data_segment};

/// How long after a login other nodes may not know the client token.
pub(super) const TOKEN_SPREADS: Duration = Duration::from_secs(5);

pub(super) fn refused(wanted: &Wanted, role: &str, since_login: Duration, response: &ErrorResponse) -> Classified {
    let (path, verb, words) = (wanted.path.as_str(), verb(wanted), response.words());
    if response.meaning == Some(Meaning::Unversioned) {
        let version = wanted.version.unwrap_or_default();
        return give_up(
            VaultErrorKind::NotReadable,
            format!("there are no versions at {path}, and version {version} is asked for"),
            "only secrets of a KV v2 engine have versions: leave `version` out",
        );
    }
    match response.head.status {
        401 => give_up(
            VaultErrorKind::Denied,
            format!("the {verb} of {path} was denied ({words})"),
            "",
        ),
        403 => denied(wanted, role, since_login, &words),
        404 => not_found(wanted, response, &words),
        // Not "missing": `ignore-not-found` would skip a path that can never be delivered.
        405 => give_up(
            VaultErrorKind::NotReadable,
            match wanted.data {
                None => format!("{path} cannot be read ({words})"),
                Some(_) => format!("{path} cannot be written ({words})"),
            },
            match wanted.data {
                None => "this path must be written, not read: give the fields to write in the entry's `data`",
                Some(_) => "this path must be read, not written: leave `data` out",
            },
        ),
        201..300 => give_up(
            VaultErrorKind::NotReadable,
            format!("the write of {path} was answered with no data"),
            "only a path whose answer is a secret can be delivered, such as pki/issue/<role>",
        ),
        _ => give_up(
            VaultErrorKind::Refused,
            format!("the server refuses to {verb} {path} ({words})"),
            match wanted.data {
                None => "",
                Some(_) => "correct the entry's `data`, or what the engine's role allows",
            },
        ),
    }
}

/// There is no such path, no such version, or no engine.
fn not_found(wanted: &Wanted, response: &ErrorResponse, words: &str) -> Classified {
    let path = wanted.path.as_str();
    let not_found = |message: String, hint: &str| give_up(VaultErrorKind::NotFound, message, hint);
    if let Some(gone) = &response.gone {
        return gone_version(path, gone);
    }
    if response.warnings.iter().any(|w| w.contains("versioned K/V")) {
        return not_found(
            format!("no secret at {path}"),
            "the mount is a KV v2 engine: its paths are written <mount>/data/<secret>",
        );
    }
    if response.says("no handler for route") {
        return give_up(
            VaultErrorKind::NoEngine,
            format!("no secrets engine is mounted at {path} ({words})"),
            "check the path, and the connection's namespace",
        );
    }
    if !response.errors.is_empty() {
        return not_found(format!("no secret at {path} ({words})"), "check the path");
    }
    let (message, hint) = match wanted.version {
        Some(version) => (
            format!("no version {version} at {path}, or no secret at all"),
            "check path and version",
        ),
        None if has_data_segment(path) => (
            format!("no secret at {path}"),
            "check the path; if the mount is a KV v1 engine, its paths have no /data/",
        ),
        None => (format!("no secret at {path}"), "check the path"),
    };
    RetryDecision::GiveUp(VaultError::new(VaultErrorKind::NotFound, message, hint).explainable())
}

fn gone_version(path: &str, gone: &GoneVersion) -> Classified {
    let (what, hint) = match gone.destroyed {
        true => ("destroyed", "write the secret again, or ask for another version"),
        false => ("deleted", "`vault kv undelete` restores it; or ask for another version"),
    };
    let at = match gone.at.as_str() {
        "" => String::new(),
        at => format!(" at {at}"),
    };
    let message = format!("version {} of {path} was {what}{at}", gone.version);
    give_up(VaultErrorKind::NotFound, message, hint)
}

/// No policy of the role allows the request. What else the status may mean is looked up afterwards, where the client token allows
/// another use.
fn denied(wanted: &Wanted, role: &str, since_login: Duration, words: &str) -> Classified {
    let path = wanted.path.as_str();
    let hint = match wanted.data {
        None => "add `read` on this path to a policy of the role; a path without a mount is answered the same way",
        Some(_) => {
            "add `update` on this path to a policy of the role; where a policy has allowed_parameters, denied_parameters or \
             required_parameters, these may refuse the entry's `data`"
        }
    };
    let error = VaultError::new(
        VaultErrorKind::Denied,
        format!("the role {role} may not {} {path} ({words})", verb(wanted)),
        hint,
    )
    .explainable();
    match TOKEN_SPREADS.checked_sub(since_login) {
        Some(left) => RetryDecision::Retry(Pause::Jitter, RetryWindow::FromNow(left), error),
        None => RetryDecision::GiveUp(error),
    }
}
