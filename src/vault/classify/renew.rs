//! What a refused renewal means: the token is gone, the lease is gone, or its engine cannot renew it now.

use super::{Classified, give_up};
use crate::vault::error::VaultErrorKind;
use crate::vault::error_response::ErrorResponse;

/// Whether the server says that only a new login helps, whatever the status. OpenBao 2.6.4 and 2.7.1 answer so for each client
/// token that an older version issued for the kubernetes method: <https://github.com/openbao/openbao/releases/tag/v2.6.4>.
pub(super) fn must_log_in_again(response: &ErrorResponse) -> bool {
    ["failed to fetch jwt during renewal", "need to be re-issued"]
        .iter()
        .any(|words| response.says(words))
}

pub(super) fn refused(what: &str, response: &ErrorResponse) -> Classified {
    const GONE: [&str; 4] = ["lease not found", "lease expired", "invalid lease", "not renewable"];
    let kind = match response.head.status {
        401 | 403 => VaultErrorKind::Denied,
        _ if must_log_in_again(response) => VaultErrorKind::Denied,
        404 => VaultErrorKind::NotFound,
        // Both servers answer so for a lease that has expired or was revoked, and for a lease at its maximum TTL.
        400 if GONE.iter().any(|gone| response.says(gone)) => VaultErrorKind::NotFound,
        // An error of the engine has this status too. The next renewal may succeed.
        400 if !response.errors.is_empty() => VaultErrorKind::Failing,
        _ => VaultErrorKind::Refused,
    };
    give_up(kind, format!("{what} cannot be renewed ({})", response.words()), "")
}
