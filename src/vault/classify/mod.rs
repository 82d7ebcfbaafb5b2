//! Which failure is worth another try, for how long, and what is said when it is not: one pure function.

mod login;
mod read;
mod renew;

use std::fmt;
use std::time::Duration;

use super::Wanted;
use super::error::{Kind, Refusal, TlsFailure, TransportError, VaultError};
use crate::plan::Login;

/// A write is not tried again when this many answers to it were lost.
const MAX_LOST: u32 = 3;

/// What was being done, with what the messages need to name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// The login.
    Login {
        /// As planned.
        login: &'a Login,
        /// What we sent: service account, audience, expiry, in words.
        identity: &'a str,
    },
    /// A read, or a write in its place.
    Read {
        /// Of what.
        wanted: &'a Wanted,
        /// The role we logged in as.
        role: &'a str,
        /// How long ago we did.
        since_login: Duration,
        /// How many answers to this write did not arrive, so that it may have been carried out.
        lost: u32,
    },
    /// The renewal of the client token.
    RenewToken,
    /// The renewal of a lease.
    RenewLease {
        /// The path that it came from.
        path: &'a str,
    },
}

/// As the beginning of a message.
impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login { login, .. } => write!(f, "the login at auth/{}", login.mount),
            Self::Read { wanted, .. } => write!(f, "the {} of {}", verb(wanted), wanted.path),
            Self::RenewToken => f.write_str("the renewal of the client token"),
            Self::RenewLease { path } => write!(f, "the renewal of the lease of {path}"),
        }
    }
}

/// A failed try.
#[derive(Debug, Clone)]
pub(super) enum FailedTry {
    /// No whole answer.
    Transport(TransportError),
    /// An answer that is no success.
    Refused(Box<Refusal>),
    /// A success that makes no sense: what is wrong with it, without its content.
    Nonsense(&'static str),
}

/// What to do about a failed try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Give up.
    Fatal(VaultError),
    /// Try again after the pause while the patience lasts, then give up.
    Retry(Pause, Patience, VaultError),
}

/// How long to wait before another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// Exponential back-off with full jitter.
    Jitter,
    /// 50 ms to 1 s: the server said that it will know in a moment.
    Short,
    /// At least a second and what the server asked for, growing.
    Throttled(Option<Duration>),
    /// This long.
    Fixed(Duration),
}

/// How long to go on trying; never beyond the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until the budget ends.
    Budget,
    /// Until a quarter of the budget is gone.
    QuarterBudget,
    /// This long after the first failure of this kind.
    For(Duration),
    /// This much longer, from now.
    More(Duration),
    /// One more try.
    Once,
}

/// A change of leader lasts a second, or thirty.
const ELECTION: Duration = Duration::from_secs(30);

/// The one place that decides.
pub(super) fn classify(step: Step<'_>, failure: &FailedTry) -> Verdict {
    match failure {
        FailedTry::Transport(error) => match (transport(error), step) {
            (Verdict::Retry(_, _, error), Step::Read { wanted, lost, .. }) if lost >= MAX_LOST => {
                Verdict::Fatal(VaultError {
                    message: format!(
                        "{lost} answers to the write of {} did not arrive: {}",
                        wanted.path, error.message
                    ),
                    hint: "each write may have made a secret that lasts until its TTL ends, so there is no further one"
                        .into(),
                    ..error
                })
            }
            (verdict, _) => verdict,
        },
        FailedTry::Nonsense(what) => fatal(
            Kind::NotVault,
            format!("the answer {} is no Vault answer: {what}", of(step)),
            "is the connection's address that of Vault or OpenBao, without something in between that answers for it?",
        ),
        FailedTry::Refused(refusal) if matches!(step, Step::RenewToken) && renew::must_log_in_again(refusal) => {
            renew::refused("the client token", refusal)
        }
        FailedTry::Refused(refusal) => match (common(step, refusal), step) {
            (Some(verdict), _) => verdict,
            (None, Step::Login { login, identity }) => login::refused(login, identity, refusal),
            (
                None,
                Step::Read {
                    wanted,
                    role,
                    since_login,
                    ..
                },
            ) => read::refused(wanted, role, since_login, refusal),
            (None, Step::RenewToken) => renew::refused("the client token", refusal),
            (None, Step::RenewLease { path }) => renew::refused(&format!("the lease of {path}"), refusal),
        },
    }
}

fn of(step: Step<'_>) -> String {
    match step {
        Step::Login { login, .. } => format!("to the login at auth/{}", login.mount),
        Step::Read { wanted, .. } => format!("for {}", wanted.path),
        Step::RenewToken | Step::RenewLease { .. } => format!("to {step}"),
    }
}

/// What is done to it.
fn verb(wanted: &Wanted) -> &'static str {
    match wanted.data {
        None => "read",
        Some(_) => "write",
    }
}

fn fatal(kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> Verdict {
    Verdict::Fatal(VaultError::new(kind, message, hint))
}

fn retry(pause: Pause, patience: Patience, kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> Verdict {
    Verdict::Retry(pause, patience, VaultError::new(kind, message, hint))
}

fn unavailable(message: impl Into<String>, hint: impl Into<String>) -> Verdict {
    retry(Pause::Jitter, Patience::Budget, Kind::Unavailable, message, hint)
}

fn transport(error: &TransportError) -> Verdict {
    match error {
        TransportError::Resolve(why) => unavailable(
            format!("the server's name does not resolve: {why}"),
            "check the host in the connection's address, and the cluster's DNS",
        ),
        TransportError::Connect(why) => unavailable(
            format!("the server cannot be reached: {why}"),
            "is it running, and does a NetworkPolicy let this pod reach it?",
        ),
        TransportError::TimedOut(what, limit) => unavailable(
            format!("{what} took longer than {}", humantime::format_duration(*limit)),
            "is the server overloaded, or does something in between swallow the traffic?",
        ),
        // Vault is never asked through one.
        TransportError::Proxy(why) => unavailable(format!("the proxy gives no way through: {why}"), ""),
        TransportError::Cut(why) => unavailable(
            format!("the connection ended before the answer did: {why}"),
            "is the server, or a proxy in front of it, restarting?",
        ),
        TransportError::TooLarge(limit) => fatal(
            Kind::NotVault,
            format!("the answer is larger than {limit}"),
            "podkey takes 4 MiB in one answer and 8 MiB in all",
        ),
        TransportError::NotHttp => fatal(
            Kind::NotVault,
            "the answer is not HTTP",
            "check scheme and port of the connection's address",
        ),
        TransportError::Request(why) => fatal(Kind::Setup, format!("the request cannot be made: {why}"), ""),
        TransportError::Tls(TlsFailure::UnknownAuthority) => retry(
            Pause::Jitter,
            Patience::Once,
            Kind::Trust,
            "the server's certificate is not signed by any of the connection's CAs",
            "put the CA that signed it into the connection's caFile",
        ),
        TransportError::Tls(TlsFailure::Time(times)) => retry(
            Pause::Jitter,
            Patience::QuarterBudget,
            Kind::Trust,
            format!("the server's certificate {times}"),
            "renew the certificate, or set the node's clock",
        ),
        TransportError::Tls(TlsFailure::Name { expected, presented }) => fatal(
            Kind::Trust,
            format!(
                "the server's certificate is not for {expected} but for {}",
                match presented.is_empty() {
                    true => "no name at all".to_owned(),
                    false => presented.join(", "),
                }
            ),
            "set tlsServerName of the connection to a name in the certificate, or correct its address",
        ),
        TransportError::Tls(TlsFailure::NotTls) => fatal(
            Kind::Trust,
            "the server does not speak TLS",
            "check scheme and port of the connection's address",
        ),
        TransportError::Tls(TlsFailure::Other(why)) => retry(
            Pause::Jitter,
            Patience::Once,
            Kind::Trust,
            format!("the TLS handshake failed: {why}"),
            "the server needs TLS 1.2 or 1.3 and a certificate for server authentication",
        ),
    }
}

/// What is the same for every request.
fn common(step: Step<'_>, refusal: &Refusal) -> Option<Verdict> {
    let words = refusal.words();
    Some(match refusal.status {
        300..400 => {
            let redirect = VaultError::new(
                Kind::NotVault,
                format!(
                    "redirect refused: {} was answered with status {}",
                    of(step).trim_start_matches("to "),
                    refusal.status
                ),
                "podkey never takes a token elsewhere: give the connection the address of the server itself, and let standby nodes forward requests",
            );
            match refusal.status {
                // A standby that forwards answers so too, until it knows the way to a leader that has just begun to lead.
                307 => Verdict::Retry(Pause::Jitter, Patience::For(ELECTION), redirect),
                _ => Verdict::Fatal(redirect),
            }
        }
        _ if refusal.wants_tls => fatal(
            Kind::Trust,
            "the server speaks TLS, the connection's address says http://",
            "write the connection's address with https://",
        ),
        _ if refusal.says("not initialized") || refusal.status == 501 => {
            unavailable("the server is not initialised", "run `vault operator init` on it")
        }
        503 if refusal.says("sealed") => unavailable("Vault is sealed", "unseal it: `vault operator unseal`"),
        412 => retry(
            Pause::Short,
            Patience::Budget,
            Kind::Unavailable,
            format!("the server had not caught up with its own answers ({words})"),
            "a standby node lags behind the active one",
        ),
        429 if refusal.says("lease count quota") => fatal(
            Kind::RateLimited,
            format!("a lease count quota is used up: {words}"),
            "each try would ask for one more lease, so there is no second one",
        ),
        429 => retry(
            Pause::Throttled(refusal.retry_after),
            Patience::Budget,
            Kind::RateLimited,
            format!("the server limits the rate of requests ({words})"),
            "raise its rate limit quota for this path",
        ),
        500.. => retry(
            match refusal.retry_after {
                Some(_) => Pause::Throttled(refusal.retry_after),
                None => Pause::Jitter,
            },
            Patience::Budget,
            match refusal.status {
                // A standby node without a leader says so with this status.
                500 if !refusal.says("not active") => Kind::Failing,
                _ => Kind::Unavailable,
            },
            format!("the server cannot answer ({words})"),
            "",
        ),
        472 | 473 => unavailable(
            format!("this node serves no requests ({words})"),
            "give the connection the active cluster's address",
        ),
        _ => return None,
    })
}

/// Whether a path looks like one of a KV v2 engine: `data` somewhere behind the mount.
pub(super) fn has_data_segment(path: &str) -> bool {
    path.split('/').skip(1).any(|segment| segment == "data")
}

#[cfg(test)]
mod tests;
