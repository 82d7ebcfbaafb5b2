//! What a refused look-up of a mount means: the client token is not known to this node yet, or the client may not look.

use std::time::Duration;

use super::read::TOKEN_SPREADS;
use super::{Classified, give_up};
use crate::http::{Pause, RetryDecision, RetryWindow};
use crate::vault::error::VaultErrorKind;
use crate::vault::error_response::ErrorResponse;

pub(super) fn refused(path: &str, since_login: Duration, response: &ErrorResponse) -> Classified {
    let message = format!("the mount of {path} cannot be looked up ({})", response.words());
    let status = response.head.status;
    let kind = match status {
        401 | 403 => VaultErrorKind::Denied,
        _ => VaultErrorKind::Refused,
    };
    match (give_up(kind, message, ""), TOKEN_SPREADS.checked_sub(since_login)) {
        (RetryDecision::GiveUp(error), Some(left)) if status == 403 => {
            RetryDecision::Retry(Pause::Jitter, RetryWindow::FromNow(left), error)
        }
        (decision, _) => decision,
    }
}
