//! The loop of tries for a request with a client token. Each try may cost a use of the token, or leave a secret behind that nobody
//! received.

use tokio::time::timeout_at;

use super::Vault;
use super::classify::{Operation, classify};
use super::error::{VaultError, VaultErrorKind};
use super::fail_fast::FailFast;
use super::failed_try::FailedTry;
use super::session::Session;
use super::transport::{ApiRequest, ApiResponse};
use crate::http::{KeptConnection, RetryDecision, Tries};

impl Vault {
    /// Sends the request until `take` accepts an answer, or a failure ends the tries. The argument of `operation` is the number of
    /// lost answers to a request that is not repeatable: the server may have carried out each of them.
    pub(super) async fn ask<'o, T>(
        &self,
        kept: &mut KeptConnection,
        session: &Session,
        request: &ApiRequest<'_>,
        fail_fast: Option<&FailFast>,
        operation: impl Fn(u32) -> Operation<'o>,
        take: impl Fn(ApiResponse) -> Result<T, FailedTry>,
    ) -> Result<T, VaultError> {
        let mut tries = Tries::new(self.deadline, operation(0).to_string());
        let mut lost = 0;
        let mut last: Option<VaultError> = None;
        let costs_a_use = !matches!(operation(0), Operation::LookUp { .. });
        loop {
            if costs_a_use {
                session
                    .count_use()
                    .map_err(|used_up| no_further_try(last.take(), used_up))?;
            }
            request.sent.set(false);
            let answered = timeout_at(self.deadline.end(), self.transport.exchange(kept, request)).await;
            if !matches!(answered, Ok(Ok(_))) && !request.repeatable && request.sent.get() {
                lost += 1;
                self.deadline.warn(format_args!(
                    "{} had no whole answer: the server may have made a secret that nobody has, until its TTL ends",
                    operation(lost)
                ));
            }
            let counted = match &answered {
                Ok(Ok(answer)) => counts_as_use(answer.status()),
                _ => request.sent.get(),
            };
            if costs_a_use && !counted {
                session.uncount_use();
            }
            let failure = match answered {
                Err(_) => return Err(self.with_namespace(tries.out_of_time())),
                Ok(Err(error)) => FailedTry::Transport(error),
                Ok(Ok(answer)) => {
                    let head = answer.head();
                    match take(answer) {
                        Ok(taken) => return Ok(taken),
                        Err(failure) => failure.with_head(head),
                    }
                }
            };
            let decision = self.decided(classify(operation(lost), &failure));
            if let RetryDecision::Retry(_, _, error) = &decision {
                last = Some(error.clone());
            }
            match fail_fast {
                None => tries.pause(decision).await?,
                Some(fail_fast) => fail_fast.pause(&mut tries, decision).await?,
            }
        }
    }
}

/// Whether the server counts a request with this answer as a use of the client token. A node that is not the active one, or
/// that limits the rate of requests, has not looked at the token.
fn counts_as_use(status: u16) -> bool {
    !matches!(status, 300..400 | 429 | 472 | 473 | 501 | 503)
}

/// The error when the client token has no use left for another try. Why the last try failed matters more than that.
fn no_further_try(last: Option<VaultError>, used_up: VaultError) -> VaultError {
    let Some(last) = last else {
        return used_up;
    };
    VaultError {
        message: format!("{}; no further try: {}", last.message, used_up.message),
        hint: match last.kind {
            VaultErrorKind::Denied => last.hint,
            _ => used_up.hint,
        },
        ..used_up
    }
}
