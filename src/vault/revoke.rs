//! The revocation of a client token, and of its leases with it.

use std::cell::Cell;
use std::time::Duration;

use ::http::Method;
use hyper::body::Bytes;
use tokio::time::timeout;

use super::session::Session;
use super::transport::{ApiRequest, target};
use super::{Vault, answer};
use crate::http::Deadline;

/// The result of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// The client token and its leases are gone.
    Yes,
    /// The client token cannot be revoked, or had expired before.
    Refused,
    /// There was no answer: the server may not have received the request.
    Unanswered,
}

impl Vault {
    /// Revokes the client token: one try, within the limit.
    pub(crate) async fn revoke(&self, session: &Session, limit: Duration) -> Revoked {
        if session.batch {
            return Revoked::Refused;
        }
        let request = ApiRequest {
            method: Method::POST,
            target: target("auth/token/revoke-self", None),
            body: Bytes::new(),
            client_token: Some(&session.client_token),
            jwt: None,
            inline: None,
            index: None,
            repeatable: true,
            sent: &Cell::default(),
        };
        // A signal in the middle of an exchange has dropped the kept connection; this is then a new one.
        let mut kept = self.kept.take();
        let outcome = timeout(limit, self.transport.exchange(&mut kept, &request)).await;
        let accessor = session.accessor.as_str();
        match outcome {
            Ok(Ok(answer)) if answer.http.is_success() && answer::is_of_the_api(&answer) => {
                tracing::debug!(accessor, "client token revoked");
                Revoked::Yes
            }
            Ok(Ok(_)) if session.is_used_up() => {
                tracing::debug!(accessor, "the client token has ended with its last use");
                Revoked::Yes
            }
            Ok(Ok(answer)) => {
                let response = answer::error_response(&answer, "");
                tracing::warn!(
                    accessor,
                    reason = response.words(),
                    from_server = response.from_vault,
                    ttl_s = session.ttl.as_secs(),
                    "the client token could not be revoked: it lasts until its TTL"
                );
                Revoked::Refused
            }
            Ok(Err(_)) | Err(_) => {
                // A caller with a schedule tries again, and warns itself.
                if let Deadline::Run(..) = self.deadline {
                    session.warn_unconfirmed_revocation();
                }
                Revoked::Unanswered
            }
        }
    }
}
