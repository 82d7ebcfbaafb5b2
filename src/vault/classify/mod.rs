//! Which failure is worth another try, for how long, and what is said when it is not: one pure function.

mod login;
mod read;
mod renew;

use std::fmt;
use std::time::Duration;

use super::Wanted;
use super::certificate::TAKEN;
use super::error::{CLIENT_CERTIFICATE, Head, Kind, Meaning, Refusal, TlsFailure, TransportError, VaultError};
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
    /// A success that makes no sense: what is wrong with it, without its content, and its head.
    Nonsense(&'static str, Head),
}

impl FailedTry {
    /// With the head of the answer that it is about.
    pub(super) fn of(self, head: Head) -> Self {
        match self {
            Self::Nonsense(what, _) => Self::Nonsense(what, head),
            other => other,
        }
    }
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
        FailedTry::Nonsense(what, head) => match step {
            Step::Read { wanted, .. } if let Some(verdict) = read::raw(wanted, head) => verdict,
            _ => not_vault(step, &format!("{head}, {what}"), FOREIGN),
        },
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

/// What to do about an answer that is not the server's.
const FOREIGN: &str = "something between podkey and the server has answered (proxy, ingress, service mesh, load balancer), or the connection's address is another server's";

fn not_vault(step: Step<'_>, words: &str, hint: &str) -> Verdict {
    fatal(Kind::NotVault, no_vault_answer(step, words), hint)
}

fn no_vault_answer(step: Step<'_>, words: &str) -> String {
    format!("the answer {} is no Vault answer: {words}", of(step))
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
            times.as_str(),
            "renew the certificate, or set the node's clock",
        ),
        TransportError::Tls(TlsFailure::Name { expected, presented }) => fatal(
            Kind::Trust,
            format!(
                "the server's certificate is not for {expected} but for {}",
                match presented.is_empty() {
                    true => "no DNS name and no address".to_owned(),
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
        TransportError::Tls(TlsFailure::NothingInCommon) => retry(
            Pause::Jitter,
            Patience::Once,
            Kind::Trust,
            "the server found nothing in common with podkey in the TLS handshake (version, cipher or kind of certificate)",
            format!("podkey speaks TLS 1.2 and 1.3. For certificates: {TAKEN}"),
        ),
        TransportError::Tls(TlsFailure::Other { what, hint }) => {
            retry(Pause::Jitter, Patience::Once, Kind::Trust, what.as_str(), hint.as_str())
        }
    }
}

/// What is the same for every request: what the answer is comes before what its status says.
fn common(step: Step<'_>, refusal: &Refusal) -> Option<Verdict> {
    if let Some(meaning) = &refusal.meaning {
        return meant(step, refusal, meaning);
    }
    match refusal.head.status {
        300..400 => Some(redirect(step, refusal.head.status)),
        429 => Some(throttled(refusal)),
        // Nobody else uses these.
        472 | 473 => Some(unavailable(
            format!("this node serves no requests ({})", refusal.words()),
            "give the connection the active cluster's address",
        )),
        _ if !refusal.from_vault => Some(foreign(step, refusal)),
        _ => of_server(step, refusal),
    }
}

/// Answers whose meaning neither status nor errors tell.
fn meant(step: Step<'_>, refusal: &Refusal, meaning: &Meaning) -> Option<Verdict> {
    Some(match meaning {
        Meaning::WantsTls => fatal(
            Kind::Trust,
            "the server speaks TLS, the connection's address says http://",
            "write the connection's address with https://",
        ),
        Meaning::WantsTlsBehind => not_vault(
            step,
            &format!(
                "{}, from a load balancer that speaks clear text to the server's TLS port",
                refusal.head
            ),
            "let the load balancer speak TLS to the server, or pass TLS through",
        ),
        Meaning::WantsClientCertificate => fatal(
            Kind::Trust,
            "a proxy in front of the server wants a client certificate (mutual TLS), and podkey has none",
            CLIENT_CERTIFICATE,
        ),
        Meaning::MetricsListener => not_vault(
            step,
            &format!("{}, this listener of the server serves only its metrics", refusal.head),
            "give the connection the address of a listener that serves the API",
        ),
        // Of one step each.
        Meaning::SecondFactor(_) | Meaning::Unversioned => return None,
    })
}

fn redirect(step: Step<'_>, status: u16) -> Verdict {
    let redirect = VaultError::new(
        Kind::NotVault,
        format!(
            "redirect refused: {} was answered with status {status}",
            of(step).trim_start_matches("to "),
        ),
        "podkey never takes a token elsewhere: give the connection the address of the server itself, and let standby nodes forward requests",
    );
    match status {
        // A standby that forwards answers so too, until it knows the way to a leader that has just begun to lead.
        307 => Verdict::Retry(Pause::Jitter, Patience::For(ELECTION), redirect),
        _ => Verdict::Fatal(redirect),
    }
}

fn throttled(refusal: &Refusal) -> Verdict {
    let words = refusal.words();
    if refusal.says("lease count quota") {
        return fatal(
            Kind::RateLimited,
            format!("a lease count quota is used up: {words}"),
            "each try would ask for one more lease, so there is no second one",
        );
    }
    let (who, hint) = match refusal.from_vault {
        true => ("the server", "raise its rate limit quota for this path"),
        false => (
            "something in front of the server",
            "raise the limit of the proxy or gateway in front of it",
        ),
    };
    retry(
        Pause::Throttled(refusal.retry_after),
        Patience::Budget,
        Kind::RateLimited,
        format!("{who} limits the rate of requests ({words})"),
        hint,
    )
}

/// What something in front of the server answers. A gateway that says that the server behind it is away may find it again; an
/// error of its own may pass; anything else is a decision, and not the server's.
fn foreign(step: Step<'_>, refusal: &Refusal) -> Verdict {
    let words = refusal.head.to_string();
    let pause = match refusal.retry_after {
        Some(_) => Pause::Throttled(refusal.retry_after),
        None => Pause::Jitter,
    };
    match refusal.head.status {
        // 520 to 530 are Cloudflare's.
        408 | 502..=504 | 520..=530 => retry(
            pause,
            Patience::Budget,
            Kind::Unavailable,
            format!("the server cannot answer ({words})"),
            "a proxy or load balancer in front of the server answers in its place: does it see the server as healthy?",
        ),
        500.. => retry(
            pause,
            Patience::Budget,
            Kind::NotVault,
            no_vault_answer(step, &words),
            FOREIGN,
        ),
        401 | 407 => not_vault(
            step,
            &words,
            "something in front of the server asks for credentials of its own: let podkey around it",
        ),
        _ => not_vault(step, &words, FOREIGN),
    }
}

/// Texts with which a server says that it cannot do now what it can do in a moment, whatever the status: they come with 400 and
/// with 500. From OpenBao's source, and the DR secondary's from Vault Enterprise.
const FOR_A_MOMENT: [(&str, &str); 8] = [
    (
        "non-versioned to versioned data",
        "the mount is being upgraded from KV v1 to KV v2",
    ),
    (
        "in replication DR secondary mode",
        "give the connection the address of the primary cluster",
    ),
    (
        "Vault is in standby mode",
        "let standby nodes forward requests, or give the connection the active node's address",
    ),
    (
        "please forward to the active node",
        "let standby nodes forward requests, or give the connection the active node's address",
    ),
    (
        "cannot forward request",
        "does the standby node reach the active one on its cluster address?",
    ),
    ("active cluster node not found", "does the cluster have a leader?"),
    ("has not been replicated yet", "the node has just begun to lead"),
    ("being initialized on another node", "the server is being set up"),
];

/// Texts of Go's network library, in an answer of the server's: the server did not reach somebody that it asks.
const NOT_REACHED: [&str; 8] = [
    "dial tcp",
    "connection refused",
    "connection reset",
    "i/o timeout",
    "TLS handshake timeout",
    "context deadline exceeded",
    "Client.Timeout exceeded",
    "server misbehaving",
];

/// The server's own word, as far as it is the same for every request.
fn of_server(step: Step<'_>, refusal: &Refusal) -> Option<Verdict> {
    let words = refusal.words();
    let status = refusal.head.status;
    if let Some((_, hint)) = FOR_A_MOMENT.iter().find(|(text, _)| refusal.says(text)) {
        return Some(unavailable(format!("the server cannot answer now ({words})"), *hint));
    }
    Some(match status {
        _ if refusal.says("not initialized") || status == 501 => {
            unavailable("the server is not initialised", "run `vault operator init` on it")
        }
        503 if refusal.says("namespace is sealed") => {
            unavailable("the namespace is sealed", "unseal it: `bao namespace unseal`")
        }
        503 if refusal.says("sealed") => unavailable("Vault is sealed", "unseal it: `vault operator unseal`"),
        412 => retry(
            Pause::Short,
            Patience::Budget,
            Kind::Unavailable,
            format!("the server had not caught up with its own answers ({words})"),
            "a standby node lags behind the active one",
        ),
        500.. => retry(
            match refusal.retry_after {
                Some(_) => Pause::Throttled(refusal.retry_after),
                None => Pause::Jitter,
            },
            Patience::Budget,
            match status {
                500 => Kind::Failing,
                _ => Kind::Unavailable,
            },
            format!("the server cannot answer ({words})"),
            "",
        ),
        // A renewal has its own schedule, and may give up its lease.
        400 if !matches!(step, Step::RenewToken | Step::RenewLease { .. })
            && NOT_REACHED.iter().any(|text| refusal.says(text)) =>
        {
            retry(
                Pause::Jitter,
                Patience::Budget,
                Kind::Failing,
                format!("{step} failed, because the server does not reach somebody that it asks ({words})"),
                "can the server resolve and reach that address?",
            )
        }
        _ => return None,
    })
}

/// Whether a path looks like one of a KV v2 engine: `data` somewhere behind the mount.
pub(super) fn has_data_segment(path: &str) -> bool {
    path.split('/').skip(1).any(|segment| segment == "data")
}

#[cfg(test)]
mod tests;
