//! A session: the right to make requests, from a login until the client token is revoked; and how a session goes from `init` to
//! the sidecar.

use std::borrow::Cow;
use std::cell::Cell;
use std::time::Duration;

use ::http::header::HeaderValue;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::answer::Auth;
use super::error::{VaultError, VaultErrorKind};
use crate::http::JwtLifetime;
use crate::plan::ApiPath;
use crate::secret::Secret;

/// What a login gives.
pub(crate) struct Session {
    pub(super) client_token: Secret,
    /// The header `X-Vault-Index` of the login, for each request.
    pub(super) index: Option<HeaderValue>,
    /// A batch token can be neither renewed nor revoked.
    pub(super) batch: bool,
    pub(super) role: String,
    since: Instant,
    /// Identifies the client token in the server's audit log.
    pub(crate) accessor: String,
    /// How long the client token lives, from the login or from the last renewal. Zero: it does not expire.
    pub(crate) ttl: Duration,
    /// Whether the client token can be renewed.
    pub(crate) renewable: bool,
    /// The policies of the client token.
    pub(crate) policies: Vec<String>,
    uses: Uses,
    /// The lifetime of the JWT of the login, where the JWT states it.
    proof: Option<JwtLifetime>,
}

/// How many requests the client token is good for. The server counts each request, a refused one too. The last request ends the
/// token, and all its leases (<https://openbao.org/docs/concepts/tokens/>).
#[derive(Debug)]
struct Uses {
    /// The limit of the login; 0 means no limit.
    granted: u64,
    /// The requests that the server may have counted.
    made: Cell<u64>,
    /// The requests that must not be made, because the last one would end a lease.
    reserved: Cell<u64>,
}

impl Uses {
    fn new(granted: u64) -> Self {
        Self {
            granted,
            made: Cell::new(0),
            reserved: Cell::new(0),
        }
    }

    /// How many requests are left. None: no limit.
    fn left(&self) -> Option<u64> {
        (self.granted > 0).then(|| self.granted.saturating_sub(self.made.get()))
    }
}

/// A session as `init` writes it for the sidecar, with the client token in the clear: for a file that nobody else can read.
/// There is no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionHandover<'a> {
    #[serde(borrow)]
    client_token: Cow<'a, str>,
    #[serde(borrow)]
    accessor: Cow<'a, str>,
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    index: Option<Cow<'a, str>>,
    batch: bool,
    ttl_s: u64,
    renewable: bool,
    uses: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<JwtLifetime>,
}

impl Session {
    pub(super) fn new(auth: Auth, role: String, index: Option<HeaderValue>, proof: Option<JwtLifetime>) -> Self {
        Self {
            client_token: auth.client_token,
            index,
            batch: auth.batch,
            role,
            since: Instant::now(),
            accessor: auth.accessor,
            ttl: auth.ttl,
            renewable: auth.renewable,
            policies: auth.policies,
            uses: Uses::new(auth.uses),
            proof,
        }
    }

    /// The client token, for the file of a pod that is to have it.
    pub(crate) fn client_token(&self) -> &Secret {
        &self.client_token
    }

    /// The role of the login.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// How many requests the client token was good for at the login; 0 means no limit.
    pub(crate) fn uses(&self) -> u64 {
        self.uses.granted
    }

    /// Reserves the last use for the revocation: any other last request would end the leases of the client token.
    pub(crate) fn keep_last_use(&self) {
        self.uses.reserved.set(1);
    }

    /// Whether no use is left: the server has ended the client token.
    pub(crate) fn is_used_up(&self) -> bool {
        self.uses.left() == Some(0)
    }

    /// Counts a request before it is made. The error: there is no use left for it.
    pub(super) fn count_use(&self) -> Result<(), VaultError> {
        match self.uses.left() {
            Some(left) if left <= self.uses.reserved.get() => Err(VaultError::new(
                VaultErrorKind::Denied,
                format!(
                    "the client token of the role {} is good for {} requests (token_num_uses), and has none left for this",
                    self.role, self.uses.granted
                ),
                "raise token_num_uses of the role, or set it to 0",
            )),
            _ => {
                self.uses.made.set(self.uses.made.get() + 1);
                Ok(())
            }
        }
    }

    /// Takes back a request that the server has not counted.
    pub(super) fn uncount_use(&self) {
        self.uses.made.set(self.uses.made.get().saturating_sub(1));
    }

    /// How long the client token still lives, if it was never renewed. None: it does not expire.
    pub(crate) fn left(&self) -> Option<Duration> {
        (!self.ttl.is_zero()).then(|| self.ttl.saturating_sub(self.age()))
    }

    /// What a refusal of this path means, if the token was never renewed: after the end of the token the server refuses every
    /// path, with the words for a missing right.
    pub(super) fn refused(&self, path: &ApiPath, error: VaultError) -> VaultError {
        if error.kind != VaultErrorKind::Denied || self.left() != Some(Duration::ZERO) {
            return error;
        }
        let message = format!(
            "the client token of the role {} ended after {} s (its TTL), and the server had not answered the read of {path} until then",
            self.role,
            self.ttl.as_secs()
        );
        let hint =
            "the next try logs in again; give the role a token_ttl that is longer than the connection's `budget`";
        VaultError::new(VaultErrorKind::Unavailable, message, hint)
    }

    /// The lifetime of the JWT of the login, where the JWT states it.
    pub(crate) fn proof(&self) -> Option<JwtLifetime> {
        self.proof
    }

    /// Whether the client token is a batch token, which can be neither renewed nor revoked.
    pub(crate) fn is_batch(&self) -> bool {
        self.batch
    }

    /// Warns that the revocation had no answer.
    pub(crate) fn warn_unconfirmed_revocation(&self) {
        tracing::warn!(
            accessor = self.accessor,
            ttl_s = self.ttl.as_secs(),
            "no answer to the revocation of the client token: it may last until its TTL"
        );
    }

    /// How long ago the login was.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The session for another process. None where the client token is not UTF-8, which no token is.
    pub(crate) fn hand_over(&self) -> Option<SessionHandover<'_>> {
        Some(SessionHandover {
            client_token: std::str::from_utf8(self.client_token.expose()).ok()?.into(),
            accessor: self.accessor.as_str().into(),
            role: self.role.as_str().into(),
            index: self.index.as_ref().and_then(|index| index.to_str().ok()).map(Cow::from),
            batch: self.batch,
            ttl_s: self.ttl.as_secs(),
            renewable: self.renewable,
            // 0 would mean no limit.
            uses: self.uses.left().map_or(0, |left| left.max(1)),
            proof: self.proof,
        })
    }

    /// The session of another process, whose login was `age` ago. None where the client token does not fit into a request.
    pub(crate) fn resume(handover: SessionHandover<'_>, age: Duration) -> Option<Self> {
        let token = handover.client_token;
        let fits = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self {
            client_token: Secret::from(token.into_owned().into_bytes()),
            index: handover.index.and_then(|index| HeaderValue::from_str(&index).ok()),
            batch: handover.batch,
            role: handover.role.into_owned(),
            since: Instant::now().checked_sub(age).unwrap_or_else(Instant::now),
            accessor: handover.accessor.into_owned(),
            ttl: Duration::from_secs(handover.ttl_s),
            renewable: handover.renewable,
            policies: Vec::new(),
            uses: Uses::new(handover.uses),
            proof: handover.proof,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(token: &str) -> Session {
        let auth = Auth {
            client_token: Secret::from(token.as_bytes().to_vec()),
            accessor: "acc".into(),
            policies: Vec::new(),
            ttl: Duration::from_secs(60),
            renewable: true,
            batch: false,
            uses: 3,
        };
        let proof = JwtLifetime {
            exp: 1_700_000_600,
            iat: Some(1_700_000_000),
        };
        Session::new(auth, "web".into(), Some(HeaderValue::from_static("v1:x")), Some(proof))
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_survives_its_way_to_another_process() {
        // `resume` cannot go back beyond the start of the clock.
        tokio::time::advance(Duration::from_secs(100)).await;
        let before = session("s.canary-client-token");
        before.count_use().unwrap();
        let json = serde_json::to_string(&before.hand_over().unwrap()).unwrap();
        let handover: SessionHandover<'_> = serde_json::from_str(&json).unwrap();
        let after = Session::resume(handover, Duration::from_secs(7)).unwrap();
        assert!(after.client_token == before.client_token && after.index == before.index);
        assert_eq!((after.accessor.as_str(), after.role.as_str()), ("acc", "web"));
        assert_eq!(
            (after.ttl, after.renewable, after.batch, after.uses()),
            (before.ttl, true, false, 2)
        );
        assert_eq!(after.proof(), before.proof());
        assert_eq!(after.age(), Duration::from_secs(7));
        assert_eq!(after.left(), Some(Duration::from_secs(53)));
    }

    #[tokio::test]
    async fn the_last_use_is_kept_for_the_revocation_where_a_lease_would_end_with_it() {
        let session = session("s.canary-client-token");
        session.keep_last_use();
        session.count_use().unwrap();
        session.uncount_use();
        session.count_use().unwrap();
        session.count_use().unwrap();
        let error = session.count_use().unwrap_err();
        assert_eq!(error.kind, VaultErrorKind::Denied);
        assert!(error.message.contains("3 requests (token_num_uses)"), "{error}");
        assert!(!session.is_used_up());
    }

    #[tokio::test]
    async fn a_client_token_that_does_not_fit_into_a_request_makes_no_session() {
        for bad in ["", "a b", "a\nb", "ä"] {
            let json = serde_json::to_string(&session(bad).hand_over().unwrap()).unwrap();
            let handover: SessionHandover<'_> = serde_json::from_str(&json).unwrap();
            assert!(Session::resume(handover, Duration::ZERO).is_none(), "{bad:?}");
        }
    }
}
