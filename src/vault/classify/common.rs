//! Answers that mean the same for every request: first who answered, the server or something in front of it; then what the
//! status means.

use std::time::Duration;

use super::transport::CLIENT_CERTIFICATE;
use super::{Classified, FOREIGN, Operation, give_up, no_vault_answer, not_vault, pause_of, retry, to, unavailable};
use crate::http::{Pause, RetryDecision, RetryWindow};
use crate::vault::error::{VaultError, VaultErrorKind};
use crate::vault::error_response::{ErrorResponse, Meaning};

/// How long an election of a leader may take: a second, or thirty.
const ELECTION: Duration = Duration::from_secs(30);

/// None: what the answer means depends on the operation.
pub(super) fn decide(operation: Operation<'_>, response: &ErrorResponse) -> Option<Classified> {
    if let Some(meaning) = &response.meaning {
        return known_meaning(operation, response, meaning);
    }
    match response.head.status {
        300..400 => Some(redirect(operation, response.head.status)),
        429 => Some(throttled(response)),
        // Only Vault and OpenBao use these two.
        472 | 473 => Some(unavailable(
            format!("this node serves no requests ({})", response.words()),
            "give the connection the active cluster's address",
        )),
        _ if !response.from_vault => Some(foreign(operation, response)),
        _ => from_server(operation, response),
    }
}

fn known_meaning(operation: Operation<'_>, response: &ErrorResponse, meaning: &Meaning) -> Option<Classified> {
    let head = &response.head;
    Some(match meaning {
        Meaning::WantsTls => give_up(
            VaultErrorKind::Trust,
            "the server speaks TLS, but the connection's address begins with http://",
            "write the connection's address with https://",
        ),
        Meaning::WantsTlsBehind => not_vault(
            operation,
            &format!("{head}, from a load balancer that speaks clear text to the server's TLS port"),
            "let the load balancer speak TLS to the server, or pass TLS through",
        ),
        Meaning::WantsClientCertificate => give_up(
            VaultErrorKind::Trust,
            "a proxy in front of the server wants a client certificate (mutual TLS), and podkey has none",
            CLIENT_CERTIFICATE,
        ),
        Meaning::MetricsListener => not_vault(
            operation,
            &format!("{head}, this listener of the server serves only its metrics"),
            "give the connection the address of a listener that serves the API",
        ),
        // The first is decided by `login`, the second by `read`.
        Meaning::SecondFactor(_) | Meaning::Unversioned => return None,
    })
}

fn redirect(operation: Operation<'_>, status: u16) -> Classified {
    let error = VaultError::new(
        VaultErrorKind::NotVault,
        format!(
            "redirect refused: {} was answered with status {status}",
            to(operation).trim_start_matches("to "),
        ),
        "podkey never sends a token to another place: give the connection the address of the server itself, and let standby nodes forward requests",
    );
    match status {
        // A standby node that forwards requests sends this too, until it knows the new leader.
        307 => RetryDecision::Retry(Pause::Jitter, RetryWindow::SinceFirst(ELECTION), error),
        _ => RetryDecision::GiveUp(error),
    }
}

fn throttled(response: &ErrorResponse) -> Classified {
    let words = response.words();
    if response.says("lease count quota") {
        return give_up(
            VaultErrorKind::RateLimited,
            format!("a lease count quota is used up: {words}"),
            "each try would ask for one more lease, so there is no second one",
        );
    }
    let (who, hint) = match response.from_vault {
        true => ("the server", "raise its rate limit quota for this path"),
        false => (
            "something in front of the server",
            "raise the limit of the proxy or gateway in front of it",
        ),
    };
    retry(
        Pause::Throttled(response.retry_after),
        RetryWindow::Budget,
        VaultErrorKind::RateLimited,
        format!("{who} limits the rate of requests ({words})"),
        hint,
    )
}

/// An answer of something in front of the server. A gateway may find a server again that it reports as away, and an error of the
/// gateway itself may pass. Any other answer is a decision, and not the server's.
fn foreign(operation: Operation<'_>, response: &ErrorResponse) -> Classified {
    let words = response.head.to_string();
    match response.head.status {
        // 520 to 530 are Cloudflare's.
        408 | 502..=504 | 520..=530 => retry(
            pause_of(response),
            RetryWindow::Budget,
            VaultErrorKind::Unavailable,
            format!("the server cannot answer ({words})"),
            "a proxy or load balancer in front of the server answers in its place: does it see the server as healthy?",
        ),
        500.. => retry(
            pause_of(response),
            RetryWindow::Budget,
            VaultErrorKind::NotVault,
            no_vault_answer(operation, &words),
            FOREIGN,
        ),
        401 | 407 => not_vault(
            operation,
            &words,
            "something in front of the server asks for credentials of its own: let podkey around it",
        ),
        _ => not_vault(operation, &words, FOREIGN),
    }
}

/// Texts with which a server says that it cannot do now what it can do in a moment, with status 400 or 500; and the hint for
/// each. From OpenBao's source; the one of the DR secondary is from Vault Enterprise.
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

/// Texts of Go's network library in an answer: the server did not reach another server that it needs.
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

/// The server's own answer. None: what it means depends on the operation.
fn from_server(operation: Operation<'_>, response: &ErrorResponse) -> Option<Classified> {
    let words = response.words();
    let status = response.head.status;
    if let Some((_, hint)) = FOR_A_MOMENT.iter().find(|(text, _)| response.says(text)) {
        return Some(unavailable(format!("the server cannot answer now ({words})"), *hint));
    }
    Some(match status {
        _ if response.says("not initialized") || status == 501 => {
            unavailable("the server is not initialised", "run `vault operator init` on it")
        }
        503 if response.says("namespace is sealed") => {
            unavailable("the namespace is sealed", "unseal it: `bao namespace unseal`")
        }
        503 if response.says("sealed") => unavailable("Vault is sealed", "unseal it: `vault operator unseal`"),
        412 => retry(
            Pause::Short,
            RetryWindow::Budget,
            VaultErrorKind::Unavailable,
            format!("this node of the server has not received the newest data yet ({words})"),
            "a standby node lags behind the active one",
        ),
        500.. => retry(
            pause_of(response),
            RetryWindow::Budget,
            match status {
                500 => VaultErrorKind::Failing,
                _ => VaultErrorKind::Unavailable,
            },
            format!("the server cannot answer ({words})"),
            "",
        ),
        // A renewal has its own schedule, and may give up its lease.
        400 if !matches!(operation, Operation::RenewToken | Operation::RenewLease { .. })
            && NOT_REACHED.iter().any(|text| response.says(text)) =>
        {
            retry(
                Pause::Jitter,
                RetryWindow::Budget,
                VaultErrorKind::Failing,
                format!("{operation} failed, because the server does not reach another server that it needs ({words})"),
                "can the server resolve and reach that address?",
            )
        }
        _ => return None,
    })
}
