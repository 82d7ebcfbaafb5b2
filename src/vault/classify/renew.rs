//! What a refused renewal means: the token is gone, the lease is gone, or its engine cannot now.

use super::{Verdict, fatal};
use crate::vault::error::{Kind, Refusal};

/// Whether the server says that only a new login helps, whatever the status. OpenBao 2.6.4 and 2.7.1 say so of each client token
/// that an older version issued for the kubernetes method: <https://github.com/openbao/openbao/releases/tag/v2.6.4>.
pub(super) fn must_log_in_again(refusal: &Refusal) -> bool {
    ["failed to fetch jwt during renewal", "need to be re-issued"]
        .iter()
        .any(|words| refusal.says(words))
}

pub(super) fn refused(what: &str, refusal: &Refusal) -> Verdict {
    let words = refusal.words();
    let refused = |kind: Kind| fatal(kind, format!("{what} cannot be renewed ({words})"), "");
    match refusal.head.status {
        401 | 403 => refused(Kind::Denied),
        _ if must_log_in_again(refusal) => refused(Kind::Denied),
        404 => refused(Kind::NotFound),
        // So both servers say it of a lease that has ended or was revoked, and of one that ends for good.
        400 if ["lease not found", "lease expired", "invalid lease", "not renewable"]
            .iter()
            .any(|gone| refusal.says(gone)) =>
        {
            refused(Kind::NotFound)
        }
        // The engine's own words come with this status too: it may do better the next time.
        400 if !refusal.errors.is_empty() => refused(Kind::Failing),
        _ => refused(Kind::Refused),
    }
}
