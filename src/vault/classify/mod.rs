//! Which failure is worth another try, for how long, and what the message says when it is not: one pure function.

mod common;
mod login;
mod look_up;
mod raw;
mod read;
mod renew;
mod transport;

use std::fmt;
use std::time::Duration;

pub(super) use self::transport::size_limits;
use super::error::{VaultError, VaultErrorKind};
use super::error_response::ErrorResponse;
use super::failed_try::FailedTry;
use super::wanted::Wanted;
use crate::http::{Pause, RetryDecision, RetryWindow};
use crate::plan::Login;

/// A write is not tried again after this many lost answers.
const MAX_LOST: u32 = 3;

type Classified = RetryDecision<VaultError>;

/// What was requested, with what the messages need to name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation<'a> {
    Login {
        login: &'a Login,
        /// Subject, audience and expiry of the token that was sent, as a text.
        identity: &'a str,
    },
    /// A read, or a write whose answer is the secret.
    Read {
        wanted: &'a Wanted,
        /// The role of the login.
        role: &'a str,
        /// How long ago the login was.
        since_login: Duration,
        /// How many answers to this write were lost, so that the server may have carried it out.
        lost: u32,
    },
    /// The look-up of the mount of a path. It costs no use of the client token.
    LookUp {
        path: &'a str,
        /// How long ago the login was.
        since_login: Duration,
    },
    /// The renewal of the client token.
    RenewToken,
    /// The renewal of a lease.
    RenewLease {
        /// The path that gave the lease.
        path: &'a str,
    },
}

/// As the beginning of a message.
impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login { login, .. } => write!(f, "the login at auth/{}", login.mount),
            Self::Read { wanted, .. } => write!(f, "the {} of {}", verb(wanted), wanted.path),
            Self::LookUp { path, .. } => write!(f, "the look-up of the mount of {path}"),
            Self::RenewToken => f.write_str("the renewal of the client token"),
            Self::RenewLease { path } => write!(f, "the renewal of the lease of {path}"),
        }
    }
}

/// Decides about every failed try.
pub(super) fn classify(operation: Operation<'_>, failure: &FailedTry) -> Classified {
    match failure {
        FailedTry::Transport(error) => limit_lost_writes(operation, transport::decide(error)),
        FailedTry::Malformed(what, head) => match operation {
            Operation::Read { wanted, .. } if let Some(decision) = raw::decide(wanted, head) => decision,
            _ => not_vault(operation, &format!("{head}, {what}"), FOREIGN),
        },
        FailedTry::Refused(response)
            if matches!(operation, Operation::RenewToken) && renew::must_log_in_again(response) =>
        {
            renew::refused("the client token", response)
        }
        FailedTry::Refused(response) => {
            common::decide(operation, response).unwrap_or_else(|| refused(operation, response))
        }
    }
}

/// What a refusal means for this operation.
fn refused(operation: Operation<'_>, response: &ErrorResponse) -> Classified {
    match operation {
        Operation::Login { login, identity } => login::refused(login, identity, response),
        Operation::Read {
            wanted,
            role,
            since_login,
            ..
        } => read::refused(wanted, role, since_login, response),
        Operation::LookUp { path, since_login } => look_up::refused(path, since_login, response),
        Operation::RenewToken => renew::refused("the client token", response),
        Operation::RenewLease { path } => renew::refused(&format!("the lease of {path}"), response),
    }
}

/// Ends the tries of a write that may have made too many secrets.
fn limit_lost_writes(operation: Operation<'_>, decision: Classified) -> Classified {
    match (decision, operation) {
        (RetryDecision::Retry(_, _, error), Operation::Read { wanted, lost, .. }) if lost >= MAX_LOST => {
            RetryDecision::GiveUp(VaultError {
                message: format!(
                    "{lost} answers to the write of {} did not arrive: {}",
                    wanted.path, error.message
                ),
                hint: "each write may have made a secret that lasts until its TTL ends, so there is no further one"
                    .into(),
                ..error
            })
        }
        (decision, _) => decision,
    }
}

/// What to do about an answer that is not the server's.
const FOREIGN: &str = "something between podkey and the server has answered (proxy, ingress, service mesh, load balancer), or the connection's address is another server's";

fn not_vault(operation: Operation<'_>, words: &str, hint: &str) -> Classified {
    give_up(VaultErrorKind::NotVault, no_vault_answer(operation, words), hint)
}

fn no_vault_answer(operation: Operation<'_>, words: &str) -> String {
    format!("the answer {} is not from Vault: {words}", to(operation))
}

/// The operation behind the words "the answer".
fn to(operation: Operation<'_>) -> String {
    match operation {
        Operation::Read { wanted, .. } => format!("for {}", wanted.path),
        Operation::Login { .. } | Operation::LookUp { .. } | Operation::RenewToken | Operation::RenewLease { .. } => {
            format!("to {operation}")
        }
    }
}

fn verb(wanted: &Wanted) -> &'static str {
    match wanted.data {
        None => "read",
        Some(_) => "write",
    }
}

fn give_up(kind: VaultErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Classified {
    RetryDecision::GiveUp(VaultError::new(kind, message, hint))
}

fn retry(
    pause: Pause,
    window: RetryWindow,
    kind: VaultErrorKind,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Classified {
    RetryDecision::Retry(pause, window, VaultError::new(kind, message, hint))
}

fn unavailable(message: impl Into<String>, hint: impl Into<String>) -> Classified {
    retry(
        Pause::Jitter,
        RetryWindow::Budget,
        VaultErrorKind::Unavailable,
        message,
        hint,
    )
}

/// The pause that the server asks for, or the usual one.
fn pause_of(response: &ErrorResponse) -> Pause {
    match response.retry_after {
        Some(wait) => Pause::Throttled(Some(wait)),
        None => Pause::Jitter,
    }
}

#[cfg(test)]
mod tests;
