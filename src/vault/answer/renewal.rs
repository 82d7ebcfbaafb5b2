//! The answers to renewals: what the server gave, which may be less than podkey asked for.

use std::time::Duration;

use super::warnings::warnings;
use super::{AuthBlock, Envelope, envelope, object};
use crate::vault::failed_try::FailedTry;
use crate::vault::transport::ApiResponse;

/// The result of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// How long the token or lease lives from now on.
    pub(crate) ttl: Duration,
    /// Whether it can be renewed again.
    pub(crate) renewable: bool,
}

/// Reads the answer to the renewal of a token.
pub(in crate::vault) fn renewed_token(answer: &ApiResponse) -> Result<Renewed, FailedTry> {
    let envelope = envelope(&answer.http.body)?;
    log_warnings(&envelope, answer);
    let block: Option<AuthBlock<'_>> = envelope.auth.and_then(|block| object(block.get()));
    let block = block.ok_or_else(|| FailedTry::malformed("it has no readable auth block"))?;
    Ok(Renewed {
        ttl: Duration::from_secs(block.lease_duration.unwrap_or(0)),
        renewable: block.renewable.unwrap_or(false),
    })
}

/// Reads the answer to the renewal of a lease.
pub(in crate::vault) fn renewed_lease(answer: &ApiResponse) -> Result<Renewed, FailedTry> {
    let envelope = envelope(&answer.http.body)?;
    log_warnings(&envelope, answer);
    match envelope.lease_duration {
        Some(ttl) => Ok(Renewed {
            ttl: Duration::from_secs(ttl),
            renewable: envelope.renewable.unwrap_or(false),
        }),
        None => Err(FailedTry::malformed("it has no lease duration")),
    }
}

/// Only for debugging: a server warns of each renewal near the maximum TTL, and the TTL in its answer shows the same.
fn log_warnings(envelope: &Envelope<'_>, answer: &ApiResponse) {
    for warning in warnings(envelope, &answer.confidential) {
        tracing::debug!(warning, "the server warns of a renewal");
    }
}
