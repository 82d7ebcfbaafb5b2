//! Reads, and writes whose answer is the secret: one path at a time.

use std::cell::Cell;

use ::http::Method;
use hyper::body::Bytes;

use super::Vault;
use super::answer::{self, Reading};
use super::classify::Operation;
use super::error::{VaultError, VaultErrorKind};
use super::fail_fast::FailFast;
use super::failed_try::FailedTry;
use super::session::Session;
use super::transport::{ApiRequest, ApiResponse, target};
use super::wanted::Wanted;
use crate::http::KeptConnection;
use crate::schedule::Permit;

/// How a read may be sent, and whether it was.
pub(super) struct ReadAttempt {
    /// A request whose answer was lost may be sent again.
    repeatable: bool,
    /// Set to true while the server may have carried out the request.
    sent: Cell<bool>,
}

impl ReadAttempt {
    /// A read that creates nothing.
    pub(super) fn repeatable() -> Self {
        Self {
            repeatable: true,
            sent: Cell::new(false),
        }
    }

    /// A read that may create a credential each time.
    fn once() -> Self {
        Self {
            repeatable: false,
            ..Self::repeatable()
        }
    }
}

impl Vault {
    /// Reads a path over the connection that is kept between requests.
    pub(crate) async fn read_one(&self, session: &Session, wanted: &Wanted) -> Result<Reading, VaultError> {
        self.read_over_kept(session, wanted, &ReadAttempt::repeatable()).await
    }

    /// Reads a path that may create a new credential: one request for one permit. An error returns the permit where the server
    /// cannot have created a credential.
    pub(crate) async fn read_leased(
        &self,
        session: &Session,
        wanted: &Wanted,
        permit: Permit,
    ) -> Result<Reading, (VaultError, Option<Permit>)> {
        let attempt = ReadAttempt::once();
        let result = self.read_over_kept(session, wanted, &attempt).await;
        result.map_err(|error| (error, (!attempt.sent.get()).then_some(permit)))
    }

    async fn read_over_kept(
        &self,
        session: &Session,
        wanted: &Wanted,
        attempt: &ReadAttempt,
    ) -> Result<Reading, VaultError> {
        let mut kept = self.kept.take();
        let result = match self.readable(&mut kept, session, wanted, None).await {
            Ok(wanted) => self.read(&mut kept, session, &wanted, attempt, None).await,
            Err(error) => Err(error),
        };
        self.kept.set(kept);
        result
    }

    /// Reads the path as it is in `wanted`.
    pub(super) async fn read(
        &self,
        kept: &mut KeptConnection,
        session: &Session,
        wanted: &Wanted,
        attempt: &ReadAttempt,
        fail_fast: Option<&FailFast>,
    ) -> Result<Reading, VaultError> {
        let (method, body) = match &wanted.data {
            None => (Method::GET, Bytes::new()),
            // Strings, lists and maps of strings always serialise.
            Some(data) => (Method::POST, serde_json::to_vec(data).unwrap_or_default().into()),
        };
        let request = ApiRequest {
            method,
            target: target(wanted.path.as_str(), wanted.version),
            body,
            client_token: Some(&session.client_token),
            jwt: None,
            inline: None,
            index: session.index.as_ref(),
            repeatable: attempt.repeatable && wanted.data.is_none(),
            sent: &attempt.sent,
        };
        let operation = |lost| Operation::Read {
            wanted,
            role: &session.role,
            since_login: session.age(),
            lost,
        };
        let read = self
            .ask(kept, session, &request, fail_fast, operation, |answer| {
                // The server refuses with these statuses before it carries out the request.
                if matches!(answer.status(), 300..=499 | 501 | 503) {
                    attempt.sent.set(false);
                }
                take_reading(answer, wanted)
            })
            .await;
        if let (Err(error), Some(mounts)) = (&read, &self.mounts)
            && (error.kind.is_missing() || error.kind == VaultErrorKind::Denied)
        {
            mounts.forget(&wanted.path);
        }
        let reading = read?;
        if reading.has_lease() {
            session.keep_last_use();
        }
        Ok(reading)
    }
}

pub(super) fn take_reading(answer: ApiResponse, wanted: &Wanted) -> Result<Reading, FailedTry> {
    match answer.status() {
        200 => answer::reading(answer, wanted),
        201..300 if wanted.data.is_none() => Err(FailedTry::malformed("it is empty")),
        // Most paths that are written answer with 204.
        _ => Err(FailedTry::Refused(
            answer::error_response(&answer, wanted.path.as_str()).into(),
        )),
    }
}
