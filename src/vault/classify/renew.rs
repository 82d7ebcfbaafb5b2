//! What a refused renewal means: the token is gone, the lease is gone, or its engine cannot now.

use super::{Verdict, fatal};
use crate::vault::error::{Kind, Refusal};

pub(super) fn refused(what: &str, refusal: &Refusal) -> Verdict {
    let words = refusal.words();
    let refused = |kind: Kind| fatal(kind, format!("{what} cannot be renewed ({words})"), "");
    match refusal.head.status {
        401 | 403 => refused(Kind::Denied),
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
