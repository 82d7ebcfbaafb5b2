//! The work that the schedule hands out, and the reasons for which work fails.

use std::time::Duration;

use super::{Permit, SecretIndex, TokenNumber};

/// Work to do now, with one try. Each variant names the call that reports its result.
#[derive(Debug)]
pub(crate) enum Work {
    /// Log in. The new token gets this number, and all later work uses the new token. Then [`super::Schedule::logged_in`].
    Login(TokenNumber),
    /// Log in, if there is a newer service-account token than that of the last login. Then [`super::Schedule::logged_in`]. If
    /// there is no newer token: [`super::Schedule::nothing_newer`].
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

/// Why work failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkFailure {
    /// The server is unavailable: no connection, no complete answer, sealed, without a leader, 412, 502, 503, 504.
    Unavailable,
    /// 429, with the time of its `Retry-After`, if any; or an unavailable server that sends a `Retry-After`.
    Throttled(Option<Duration>),
    /// 403.
    Denied,
    /// There is no such secret or lease: 404 to a read, 400 "lease not found" to a renewal.
    Gone,
    /// Any other failure: 400, 500, an answer that podkey cannot parse, files that could not be written.
    Failed,
}

impl WorkFailure {
    /// Whether the server as a whole was the cause: the failure shows nothing about the secret or the token.
    pub(super) fn is_of_server(self) -> bool {
        matches!(self, Self::Unavailable | Self::Throttled(_))
    }
}
