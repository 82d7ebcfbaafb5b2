//! Which failure is worth another try, for how long, and what is said when it is not: one pure function.

use std::time::Duration;

use super::error::{Kind, Refusal, TlsFailure, TransportError, VaultError};
use crate::plan::{AuthMethod, Login};

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
    /// A read.
    Read {
        /// The path.
        path: &'a str,
        /// The version asked for.
        version: Option<u64>,
        /// The role we logged in as.
        role: &'a str,
        /// How long ago we did.
        since_login: Duration,
    },
}

/// A failed try.
#[derive(Debug, Clone)]
pub(super) enum Failure {
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

/// The one place that decides.
pub(super) fn classify(step: Step<'_>, failure: &Failure) -> Verdict {
    match failure {
        Failure::Transport(error) => transport(error),
        Failure::Nonsense(what) => fatal(
            Kind::NotVault,
            format!("the answer {} is no Vault answer: {what}", of(step)),
            "is the connection's address that of Vault or OpenBao, without something in between that answers for it?",
        ),
        Failure::Refused(refusal) => match (common(step, refusal), step) {
            (Some(verdict), _) => verdict,
            (None, Step::Login { login, identity }) => refused_login(login, identity, refusal),
            (
                None,
                Step::Read {
                    path,
                    version,
                    role,
                    since_login,
                },
            ) => refused_read(path, version, role, since_login, refusal),
        },
    }
}

fn of(step: Step<'_>) -> String {
    match step {
        Step::Login { login, .. } => format!("to the login at auth/{}", login.mount),
        Step::Read { path, .. } => format!("for {path}"),
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
        300..400 => fatal(
            Kind::NotVault,
            format!(
                "redirect refused: {} was answered with status {}",
                of(step).trim_start_matches("to "),
                refusal.status
            ),
            "podkey never takes a token elsewhere: give the connection the address of the server itself, and let standby nodes forward requests",
        ),
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
            Kind::Unavailable,
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

const NAMED_DENIALS: [&str; 6] = [
    "service account name not authorized",
    "namespace not authorized",
    "invalid audience (aud) claim",
    "service account not authorized",
    "token expired",
    "could not load backend configuration",
];

fn refused_login(login: &Login, identity: &str, refusal: &Refusal) -> Verdict {
    let Login { mount, role, method } = login;
    let words = refusal.words();
    let denied = |message: String, hint: String| VaultError::new(Kind::Denied, message, hint);
    if refusal.status == 404 || refusal.says("no handler for route") || refusal.says("unsupported path") {
        return retry(
            Pause::Jitter,
            Patience::For(Duration::from_secs(10)),
            Kind::NotFound,
            format!("no auth method is mounted at auth/{mount} ({words})"),
            "check the auth mount and the connection's namespace",
        );
    }
    if refusal.says("invalid role name") || refusal.says("could not be found") {
        return Verdict::Fatal(denied(
            format!("the role {role} does not exist at auth/{mount} ({words})"),
            "create the role, or correct the annotation podkey.dev/role".to_owned(),
        ));
    }
    if refusal.status == 403 {
        if NAMED_DENIALS.iter().any(|named| refusal.says(named)) {
            return Verdict::Retry(
                Pause::Fixed(Duration::from_secs(2)),
                Patience::Once,
                denied(
                    format!("the role {role} at auth/{mount} does not take this pod's token ({words})"),
                    format!(
                        "we sent {identity}: compare with the role's bound service accounts, namespaces and audience"
                    ),
                ),
            );
        }
        let checklist = match method {
            AuthMethod::Kubernetes => format!(
                "we sent {identity}. The server does not say why; check in this order: the mount exists; the token reviewer has \
                 system:auth-delegator; the server reaches the Kubernetes API; token_reviewer_jwt is set and valid (a token with an \
                 audience of its own cannot review itself); the API server accepts the audience; bound CIDRs"
            ),
            AuthMethod::Jwt => {
                format!(
                    "we sent {identity}. Check that the mount exists, its validation keys, and the role's bound CIDRs"
                )
            }
        };
        return Verdict::Retry(
            Pause::Jitter,
            Patience::For(Duration::from_secs(30)),
            denied(
                format!("the login at auth/{mount} as {role} was denied ({words})"),
                checklist,
            ),
        );
    }
    if refusal.errors.is_empty() {
        return fatal(
            Kind::NotVault,
            format!("the answer to the login at auth/{mount} is no Vault answer: {words}"),
            "is the connection's address that of Vault or OpenBao?",
        );
    }
    let hint = if refusal.says("no audiences bound to the role") {
        format!("set bound_audiences of the role to the audience we sent; we sent {identity}")
    } else if refusal.says("expired") || refusal.says("not yet valid") || refusal.says("issued at") {
        format!("compare the clocks of this node and of the server; we sent {identity}")
    } else if refusal.says("audience") {
        format!("we sent {identity}: compare with bound_audiences of the role")
    } else if refusal.says("signature") || refusal.says("no known key") {
        "the mount's jwt_validation_pubkeys, jwks_url or oidc_discovery_url are not those of this cluster".to_owned()
    } else {
        format!("we sent {identity}")
    };
    Verdict::Fatal(denied(
        format!("the login at auth/{mount} as {role} was refused ({words})"),
        hint,
    ))
}

/// After a login, nodes that did not take part in it may not know the new token yet.
const TOKEN_SPREADS: Duration = Duration::from_secs(5);

fn refused_read(path: &str, version: Option<u64>, role: &str, since_login: Duration, refusal: &Refusal) -> Verdict {
    let words = refusal.words();
    let not_found = |message: String, hint: &str| fatal(Kind::NotFound, message, hint);
    match (refusal.status, &refusal.gone) {
        (403, _) => {
            let error = VaultError::new(
                Kind::Denied,
                format!("the role {role} may not read {path} ({words})"),
                "add `read` on this path to a policy of the role; a path without a mount is answered the same way",
            );
            match TOKEN_SPREADS.checked_sub(since_login) {
                Some(left) => Verdict::Retry(Pause::Jitter, Patience::More(left), error),
                None => Verdict::Fatal(error),
            }
        }
        (404, Some(gone)) => not_found(
            format!(
                "version {} of {path} was {}{}",
                gone.version,
                if gone.destroyed { "destroyed" } else { "deleted" },
                match gone.at.as_str() {
                    "" => String::new(),
                    at => format!(" at {at}"),
                }
            ),
            if gone.destroyed {
                "write the secret again, or ask for another version"
            } else {
                "`vault kv undelete` brings it back; or ask for another version"
            },
        ),
        (404, None) if refusal.warnings.iter().any(|w| w.contains("versioned K/V")) => not_found(
            format!("no secret at {path}"),
            "the mount is a KV v2 engine: its paths are written <mount>/data/<secret>",
        ),
        (404, None) => not_found(
            match (version, refusal.errors.is_empty()) {
                (_, false) => format!("no secret at {path} ({words})"),
                (Some(version), true) => format!("no version {version} of a secret at {path}"),
                (None, true) => format!("no secret at {path}"),
            },
            if has_data_segment(path) {
                "check the path; if the mount is a KV v1 engine, its paths have no /data/"
            } else {
                "check the path"
            },
        ),
        (405, _) => not_found(
            format!("{path} cannot be read ({words})"),
            "such a path is written, not read",
        ),
        (401, _) => fatal(
            Kind::Denied,
            format!("the read of {path} was denied ({words})"),
            "is something in front of the server that asks for credentials of its own?",
        ),
        (400, _) if !refusal.errors.is_empty() => {
            fatal(Kind::Denied, format!("the server refuses to read {path} ({words})"), "")
        }
        _ => fatal(
            Kind::NotVault,
            format!("the answer for {path} is no Vault answer: {words}"),
            "is the connection's address that of Vault or OpenBao?",
        ),
    }
}

/// Whether a path looks like one of a KV v2 engine: `data` somewhere behind the mount.
pub(super) fn has_data_segment(path: &str) -> bool {
    path.split('/').skip(1).any(|segment| segment == "data")
}

#[cfg(test)]
mod tests;
