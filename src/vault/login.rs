//! The login: one request for each try, until the server returns a client token.

use std::path::Path;
use std::time::{Duration, SystemTime};

use ::http::Method;
use hyper::body::Bytes;
use serde::Serialize;
use tokio::time::{timeout, timeout_at};
use zeroize::Zeroizing;

use super::cancellation::{Cancellation, LoginInFlight};
use super::classify::{Operation, classify};
use super::error::{VaultError, VaultErrorKind};
use super::failed_try::FailedTry;
use super::session::Session;
use super::transport::{ApiRequest, X_VAULT_INDEX, target};
use super::{Vault, answer, service_account};
use crate::http::{Jwt, Pause, RetryDecision, RetryWindow, Tries};
use crate::plan::{Login, Role};

/// How long a login waits for the token file, which the kubelet may write late.
const TOKEN_FILE_WAIT: Duration = Duration::from_secs(10);

/// How long podkey waits, beyond the end of the run, for the answer to a login that the server already has. Without the answer nobody
/// could revoke the client token.
pub(crate) const LOGIN_GRACE: Duration = Duration::from_millis(800);

/// The token to log in with.
#[derive(Clone, Copy)]
pub(crate) enum LoginToken<'a> {
    /// The projected service-account token in this file, read again for each try: the kubelet replaces the file.
    File(&'a Path),
    Jwt(&'a Jwt),
}

impl LoginToken<'_> {
    /// The token for one try.
    pub(super) fn read(self) -> Result<Jwt, VaultError> {
        match self {
            Self::File(file) => service_account::read(file),
            Self::Jwt(jwt) => Ok(jwt.clone()),
        }
    }
}

/// The kubelet may write the token file late.
pub(super) fn token_file_is_late(error: VaultError) -> RetryDecision<VaultError> {
    RetryDecision::Retry(Pause::Jitter, RetryWindow::SinceFirst(TOKEN_FILE_WAIT), error)
}

impl Vault {
    /// Logs in. There is no further try after a cancellation.
    pub(crate) async fn login(
        &self,
        login: &Login,
        token: LoginToken<'_>,
        cancellation: &Cancellation,
    ) -> Result<Session, VaultError> {
        let unidentified = Operation::Login { login, identity: "" };
        let mut tries = Tries::new(self.deadline, unidentified.to_string());
        loop {
            let decision = match token.read() {
                Err(error) => token_file_is_late(error),
                Ok(jwt) => match self.try_login(login, &jwt, &mut tries, cancellation).await? {
                    Ok(session) => return Ok(session),
                    Err(failure) => {
                        let identity = jwt.identity();
                        let operation = Operation::Login {
                            login,
                            identity: &identity,
                        };
                        classify(operation, &failure)
                    }
                },
            };
            let decision = self.decided(decision);
            if cancellation.is_requested() {
                return Err(tries.out_of_time());
            }
            tries.pause(decision).await?;
        }
    }

    /// One try. The outer error is the end of the budget.
    async fn try_login(
        &self,
        login: &Login,
        jwt: &Jwt,
        tries: &mut Tries<VaultError>,
        cancellation: &Cancellation,
    ) -> Result<Result<Session, FailedTry>, VaultError> {
        warn_if_expired(jwt);
        let request = ApiRequest {
            method: Method::POST,
            target: target(&format!("auth/{}/login", login.mount), None),
            body: login_body(&login.role, jwt)?,
            client_token: None,
            jwt: Some(jwt.secret()),
            inline: None,
            index: None,
            repeatable: false,
            sent: &cancellation.login_sent,
        };
        let in_flight = LoginInFlight {
            cancellation,
            deadline: self.deadline,
        };
        let mut kept = self.kept.take();
        let exchanged = {
            let mut exchange = std::pin::pin!(self.transport.exchange(&mut kept, &request));
            match timeout_at(self.deadline.end(), &mut exchange).await {
                // Only the answer has the client token, which must be revoked.
                Err(_) if cancellation.login_in_flight() => timeout(LOGIN_GRACE, exchange).await,
                exchanged => exchanged,
            }
        };
        self.kept.set(kept);
        let answer = match exchanged {
            Err(_) => return Err(self.with_namespace(tries.out_of_time())),
            Ok(Err(error)) => return Ok(Err(FailedTry::Transport(error))),
            Ok(Ok(answer)) => answer,
        };
        in_flight.answered();
        if answer.status() != 200 {
            return Ok(Err(FailedTry::Refused(answer::error_response(&answer, "").into())));
        }
        let index = answer.http.headers.get(X_VAULT_INDEX).cloned();
        let auth = answer::auth(&answer).map_err(|failure| failure.with_head(answer.head()));
        Ok(auth.map(|auth| Session::new(auth, login.role.to_string(), index, jwt.lifetime())))
    }
}

pub(super) fn warn_if_expired(jwt: &Jwt) {
    let now = SystemTime::now();
    if let Some(at) = jwt.expired_at(now) {
        tracing::warn!(
            local_time = %humantime::format_rfc3339_seconds(now),
            "the token to log in with expired at {at} by the local clock"
        );
    }
}

/// The body of a login, for the kubernetes method and the jwt method alike. Wiped when the request is done.
fn login_body(role: &Role, jwt: &Jwt) -> Result<Bytes, VaultError> {
    #[derive(Serialize)]
    struct LoginBody<'a> {
        role: &'a str,
        jwt: &'a str,
    }
    // The library's error could quote the token.
    let cannot = || VaultError::new(VaultErrorKind::Setup, "the login request cannot be built", "");
    // A JWT is ASCII.
    let jwt = std::str::from_utf8(jwt.secret().expose()).map_err(|_| cannot())?;
    let role = role.as_str();
    // No character of either becomes more than two in JSON: the buffer never grows, and leaves no copy of the token behind.
    let mut body = Zeroizing::new(Vec::with_capacity(2 * (role.len() + jwt.len()) + 32));
    serde_json::to_writer(&mut *body, &LoginBody { role, jwt }).map_err(|_| cannot())?;
    Ok(Bytes::from_owner(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_body_is_json_whatever_the_role_is_called() {
        let role = r#"a "role" \ $(X)"#;
        let jwt = Jwt::new(Zeroizing::new(b"e30.e30.canary".to_vec())).unwrap();
        let body = login_body(&role.parse().unwrap(), &jwt).map_err(|_| ()).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, serde_json::json!({"role": role, "jwt": "e30.e30.canary"}));
    }
}
