//! What the schedule asks of the loop around it, and why work may fail.

use std::time::Duration;

use super::{Permit, SecretIndex, TokenNumber};

/// Work to do now, with one try. Each variant names the call that reports its result.
#[derive(Debug)]
pub(crate) enum Work {
    /// Log in. The new token has this number, and is used for all later work. Then [`super::Schedule::logged_in`].
    Login(TokenNumber),
    /// Log in, if there is a newer service-account token than that of the last login: [`super::Schedule::logged_in`]. If there
    /// is none: [`super::Schedule::nothing_newer`].
    LoginIfNewer(TokenNumber),
    /// Renew the token. Then [`super::Schedule::token_renewed`].
    RenewToken,
    /// Read these secrets, none of which has ever had a lease. Then [`super::Schedule::read`] for those that were requested, and
    /// [`super::Schedule::not_requested`] for the others.
    Read(Vec<SecretIndex>),
    /// Read or write this secret, which may make a new credential. Then [`super::Schedule::read`].
    ReadLeased(SecretIndex, Permit),
    /// Renew the secret's lease. Then [`super::Schedule::lease_renewed`].
    RenewLease(SecretIndex),
    /// Revoke this token, which has been replaced. Then [`super::Schedule::revoked`].
    Revoke(TokenNumber),
}

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkFailure {
    /// No server answers now: not reached, no whole answer, sealed, without a leader, 412, 502, 503, 504.
    Unavailable,
    /// 429, with its `Retry-After` where there is one; or a server that is unavailable and says when to come again.
    Throttled(Option<Duration>),
    /// 403.
    Denied,
    /// There is no such secret or lease: 404 to a read, 400 "lease not found" to a renewal.
    Gone,
    /// Anything else: 400, 500, an answer that makes no sense, files that could not be written.
    Failed,
}

impl WorkFailure {
    /// Whether the request failed for the server's sake: nothing is known about the secret or token itself.
    pub(super) fn is_of_server(self) -> bool {
        matches!(self, Self::Unavailable | Self::Throttled(_))
    }
}
