//! Makes tokens and leases last longer: one request each, tried as the run's [`Deadline`](super::Deadline) says.

use std::cell::Cell;

use http::Method;
use hyper::body::Bytes;
use serde::Serialize;

use super::Vault;
use super::answer::{self, Renewed};
use super::classify::{FailedTry, Step};
use super::error::VaultError;
use super::session::Session;
use super::transport::{Answered, Outgoing, target};

impl Vault {
    /// Extends the client token by its own TTL, or by what is left of its maximum.
    /// <https://openbao.org/api-docs/auth/token/#renew-a-token-self>
    pub(crate) async fn renew_token(&self, session: &Session) -> Result<Renewed, VaultError> {
        let target = target("auth/token/renew-self", None);
        self.renew(session, Step::RenewToken, target, Bytes::new(), answer::renewed_token)
            .await
    }

    /// Extends a lease by its engine's TTL, or by what is left of its maximum.
    /// <https://openbao.org/api-docs/system/leases/#renew-lease>
    pub(crate) async fn renew_lease(&self, session: &Session, path: &str, id: &str) -> Result<Renewed, VaultError> {
        #[derive(Serialize)]
        struct Body<'a> {
            lease_id: &'a str,
        }
        // One text: nothing in it can fail.
        let body = serde_json::to_vec(&Body { lease_id: id }).unwrap_or_default();
        let target = target("sys/leases/renew", None);
        self.renew(
            session,
            Step::RenewLease { path },
            target,
            body.into(),
            answer::renewed_lease,
        )
        .await
    }

    async fn renew(
        &self,
        session: &Session,
        step: Step<'_>,
        target: String,
        body: Bytes,
        take: impl Fn(&Answered) -> Result<Renewed, FailedTry>,
    ) -> Result<Renewed, VaultError> {
        let out = Outgoing {
            method: Method::POST,
            target,
            body,
            token: Some(&session.token),
            jwt: None,
            index: session.index.as_ref(),
            repeatable: true,
            sent: &Cell::default(),
        };
        let mut link = self.first.take();
        let renewed = self
            .ask(
                &mut link,
                session,
                &out,
                |_| step,
                |answer| match answer.status {
                    200 => take(&answer),
                    201..300 => Err(FailedTry::Nonsense("it is empty")),
                    _ => Err(FailedTry::Refused(answer::refusal(&answer, "").into())),
                },
            )
            .await;
        self.first.set(link);
        renewed
    }
}
