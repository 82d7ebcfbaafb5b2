//! A read with OpenBao's inline authentication: the read carries a login, and the server makes no client token. So there is
//! nothing to revoke, and the server writes nothing: <https://openbao.org/docs/auth/#inline-authentication>. What the
//! servers answer is from `handleInlineAuth` in `internal/vault/request_handling.go` of OpenBao 2.7.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ::http::Method;
use ::http::header::HeaderValue;
use hyper::body::Bytes;
use tokio::time::timeout_at;

use super::Vault;
use super::answer::Reading;
use super::classify::{Operation, classify};
use super::error::VaultError;
use super::error_response::{ErrorResponse, Meaning};
use super::fail_fast::FailFast;
use super::failed_try::FailedTry;
use super::inline_headers::{InlineHeaders, LOGIN_FAILED};
use super::login::{LoginToken, token_file_is_late, warn_if_expired};
use super::read::take_reading;
use super::transport::{ApiRequest, target};
use super::wanted::Wanted;
use crate::http::{Jwt, KeptConnection, Tries};
use crate::plan::Login;

/// The login of each read of a run, and what the answers have shown so far.
pub(super) struct InlineLogin<'a> {
    login: &'a Login,
    token: LoginToken<'a>,
    /// Whether an answer has shown that the server accepts the login.
    accepted: Cell<bool>,
    /// Why the first login failed.
    failure: RefCell<Option<VaultError>>,
}

impl<'a> InlineLogin<'a> {
    pub(super) fn new(login: &'a Login, token: LoginToken<'a>) -> Self {
        Self {
            login,
            token,
            accepted: Cell::new(false),
            failure: RefCell::new(None),
        }
    }

    /// Why the first login failed, if it did.
    pub(super) fn into_failure(self) -> Option<VaultError> {
        self.failure.into_inner()
    }

    /// Whether the failure is one of the login. A failure that says nothing of a read is one until a login has succeeded. The
    /// server marks its own failure of a login (status 500): without the mark the engine has failed.
    fn is_of_login(&self, failure: &FailedTry) -> bool {
        match failure {
            FailedTry::Refused(response) if response.of_login => true,
            FailedTry::Refused(response) if response.from_vault => {
                let head = &response.head;
                !self.accepted.get() && matches!(head.status, 412 | 429 | 472 | 473 | 501..)
            }
            FailedTry::Refused(_) | FailedTry::Transport(_) => !self.accepted.get(),
            // A success.
            FailedTry::Malformed(..) => false,
        }
    }

    /// The result of a path whose tries have ended. Once a login was accepted, the failure of a later one is told like that of a
    /// read, together with what failed before.
    fn failed(&self, error: VaultError, of_login: bool) -> Option<Result<Reading, VaultError>> {
        if of_login && !self.accepted.get() {
            self.failure.replace(Some(error));
            return None;
        }
        Some(Err(error))
    }
}

impl Vault {
    /// Reads a path. None: the run's inline reads have ended, since the first login failed or a session must read the path.
    pub(super) async fn read_inline(
        &self,
        kept: &mut KeptConnection,
        inline: &InlineLogin<'_>,
        wanted: &Wanted,
        fail_fast: &FailFast,
    ) -> Option<Result<Reading, VaultError>> {
        let read = Operation::Read {
            wanted,
            role: inline.login.role.as_str(),
            // No node has to learn of a client token first.
            since_login: Duration::MAX,
            lost: 0,
        };
        let mut tries = Tries::new(self.deadline, read.to_string());
        loop {
            let (decision, of_login) = match inline.token.read() {
                Err(error) => (token_file_is_late(error), true),
                Ok(jwt) => match self.try_inline(kept, inline, &jwt, wanted).await {
                    None => {
                        let error = self.with_namespace(tries.out_of_time());
                        return inline.failed(error, true);
                    }
                    Some(Ok(reading)) => {
                        inline.accepted.set(true);
                        tracing::info!(secret = %wanted.path, request_id = reading.request_id, "read without a client token");
                        return Some(Ok(reading));
                    }
                    Some(Err(failure)) => {
                        if let Some(why) = why_session(&failure) {
                            if !fail_fast.has_failed() {
                                log_why_session(why);
                            }
                            return None;
                        }
                        let of_login = inline.is_of_login(&failure);
                        inline.accepted.set(inline.accepted.get() || !of_login);
                        let identity = jwt.identity();
                        let login = Operation::Login {
                            login: inline.login,
                            identity: &identity,
                        };
                        (classify(if of_login { login } else { read }, &failure), of_login)
                    }
                },
            };
            if let Err(error) = fail_fast.pause(&mut tries, self.decided(decision)).await {
                return inline.failed(error, of_login);
            }
        }
    }

    /// One try. None: the budget has ended.
    async fn try_inline(
        &self,
        kept: &mut KeptConnection,
        inline: &InlineLogin<'_>,
        jwt: &Jwt,
        wanted: &Wanted,
    ) -> Option<Result<Reading, FailedTry>> {
        if !inline.accepted.get() {
            warn_if_expired(jwt);
        }
        let headers = match InlineHeaders::new(inline.login, jwt) {
            Ok(headers) => headers,
            Err(error) => return Some(Err(FailedTry::Transport(error))),
        };
        let request = ApiRequest {
            method: Method::GET,
            target: target(wanted.path.as_str(), wanted.version),
            body: Bytes::new(),
            client_token: None,
            jwt: Some(jwt.secret()),
            inline: Some(&headers),
            index: None,
            repeatable: true,
            sent: &Cell::default(),
        };
        let answer = match timeout_at(self.deadline.end(), self.transport.exchange(kept, &request)).await {
            Err(_) => return None,
            Ok(Err(error)) => return Some(Err(FailedTry::Transport(error))),
            Ok(Ok(answer)) => answer,
        };
        let head = answer.head();
        let marked = answer.http.headers.get(LOGIN_FAILED).is_some_and(is_true);
        let failure = match take_reading(answer, wanted) {
            Ok(reading) => return Some(Ok(reading)),
            Err(FailedTry::Refused(response)) => FailedTry::Refused(Box::new(as_login(*response, marked))),
            Err(failure) => failure.with_head(head),
        };
        if matches!(&failure, FailedTry::Refused(response) if response.of_login) {
            // See the transport: another node may know a new config of the auth method.
            kept.close();
        }
        Some(Err(failure))
    }
}

fn is_true(value: &HeaderValue) -> bool {
    value == "true"
}

/// Marks a refusal of the login, and gives it the words of a login that is a request of its own.
fn as_login(mut response: ErrorResponse, marked: bool) -> ErrorResponse {
    const PREFIX: &str = "failed to perform inline authentication: ";
    let prefixed = response.errors.iter().any(|error| error.starts_with(PREFIX));
    let no_namespace = response.head.status == 404 && response.says("namespace not found");
    response.of_login = marked || prefixed || no_namespace;
    for error in &mut response.errors {
        if let Some(rest) = error.strip_prefix(PREFIX) {
            *error = rest.to_owned();
        }
    }
    if response.says("inline authentication with login MFA") {
        response.meaning = Some(Meaning::SecondFactor(Vec::new()));
    }
    response
}

/// Why a session must read this path, and all further ones. None: the failure is one that a session would have too.
fn why_session(failure: &FailedTry) -> Option<&'static str> {
    let FailedTry::Refused(response) = failure else {
        return None;
    };
    let status = response.head.status;
    // The server's words for a request without any authentication. A refusal by a policy has other words around these.
    let unknown = response.says("missing client token") || status == 403 && response.errors == ["permission denied"];
    if !response.from_vault {
        // Header lines that are too long.
        let is_unexplained = response.meaning.is_none();
        return (is_unexplained && matches!(status, 400 | 413 | 431)).then_some(
            "something in front of the server refused the request, perhaps because of the length of its headers",
        );
    }
    if response.of_login {
        None
    } else if unknown {
        Some(
            "the server knows no inline authentication (OpenBao does from 2.4 on, Vault does not), or a proxy removed its headers",
        )
    } else if response.says("cannot generate leases") {
        Some("the answer would have had a lease, and inline authentication gives none")
    } else if response.says("failed to revoke ephemeral lease") {
        Some(
            "the server made a secret with a lease, and could not revoke it: nobody has that secret, and its engine ends it",
        )
    } else if status == 500 && response.says("internal error") {
        Some("the server answered with an internal error, as it does for a role with token_num_uses")
    } else {
        None
    }
}

/// Says once a run that it reads with a session, although the connection has `inline`.
pub(crate) fn log_why_session(why: &str) {
    tracing::info!(
        why,
        "inline authentication does not serve: podkey logs in, reads and revokes"
    );
}
