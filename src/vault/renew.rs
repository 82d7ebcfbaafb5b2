//! Renewals of client tokens and leases: one request each, retried as the [`Deadline`](crate::http::Deadline) says.

use std::cell::Cell;

use ::http::Method;
use hyper::body::Bytes;
use serde::Serialize;

use super::Vault;
use super::answer::{self, Renewed};
use super::classify::Operation;
use super::error::VaultError;
use super::failed_try::FailedTry;
use super::session::Session;
use super::transport::{ApiRequest, ApiResponse, target};

impl Vault {
    /// Extends the client token by its own TTL, or by what is left of its maximum TTL.
    /// <https://openbao.org/api-docs/auth/token/#renew-a-token-self>
    pub(crate) async fn renew_token(&self, session: &Session) -> Result<Renewed, VaultError> {
        let path = "auth/token/renew-self";
        self.renew(
            session,
            Operation::RenewToken,
            path,
            Bytes::new(),
            answer::renewed_token,
        )
        .await
    }

    /// Extends a lease by the TTL of its engine, or by what is left of the maximum TTL. `path` is the path that was read.
    /// <https://openbao.org/api-docs/system/leases/#renew-lease>
    pub(crate) async fn renew_lease(&self, session: &Session, path: &str, id: &str) -> Result<Renewed, VaultError> {
        #[derive(Serialize)]
        struct RenewLeaseBody<'a> {
            lease_id: &'a str,
        }
        // A string always serialises.
        let body = serde_json::to_vec(&RenewLeaseBody { lease_id: id }).unwrap_or_default();
        let operation = Operation::RenewLease { path };
        self.renew(
            session,
            operation,
            "sys/leases/renew",
            body.into(),
            answer::renewed_lease,
        )
        .await
    }

    async fn renew(
        &self,
        session: &Session,
        operation: Operation<'_>,
        path: &str,
        body: Bytes,
        take: impl Fn(&ApiResponse) -> Result<Renewed, FailedTry>,
    ) -> Result<Renewed, VaultError> {
        let request = ApiRequest {
            method: Method::POST,
            target: target(path, None),
            body,
            client_token: Some(&session.client_token),
            jwt: None,
            inline: None,
            index: session.index.as_ref(),
            repeatable: true,
            sent: &Cell::default(),
        };
        let take = |answer: ApiResponse| match answer.status() {
            200 => take(&answer),
            201..300 => Err(FailedTry::malformed("it is empty")),
            _ => Err(FailedTry::Refused(answer::error_response(&answer, "").into())),
        };
        let mut kept = self.kept.take();
        let renewed = self.ask(&mut kept, session, &request, None, |_| operation, take).await;
        self.kept.set(kept);
        renewed
    }
}
