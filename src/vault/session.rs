//! The right to ask the server, from a login until it is revoked, and how it goes from one process to another.

use std::borrow::Cow;
use std::cell::Cell;
use std::time::Duration;

use http::header::HeaderValue;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::answer::Auth;
use super::error::{Kind, VaultError};
use super::login::Expiry;
use crate::secret::Secret;

/// What a login gives: the right to read, until it is revoked.
pub(crate) struct Session {
    pub(super) token: Secret,
    pub(super) index: Option<HeaderValue>,
    pub(super) batch: bool,
    pub(super) role: String,
    pub(super) since: Instant,
    /// Names the token in the server's audit log.
    pub accessor: String,
    /// How long the token lasts, from the login or from the last renewal.
    pub ttl: Duration,
    /// Whether that can be extended.
    pub renewable: bool,
    /// The policies it has.
    pub policies: Vec<String>,
    /// The requests that the token is good for.
    pub(super) uses: Uses,
    /// Until when the token is good that we logged in with, where that token says so.
    pub(super) proof: Option<Expiry>,
}

/// The requests that a client token is good for. The server counts each of them, the refused ones too. The last one ends the
/// token, and all leases with it (<https://openbao.org/docs/concepts/tokens/>).
#[derive(Debug)]
pub(super) struct Uses {
    /// As the login says; 0 means without end.
    granted: u64,
    /// Requests that the server may have counted.
    made: Cell<u64>,
    /// Requests that are not to be made, because a lease would end with the token.
    kept: Cell<u64>,
}

impl Uses {
    pub(super) fn new(granted: u64) -> Self {
        Self {
            granted,
            made: Cell::new(0),
            kept: Cell::new(0),
        }
    }

    /// How many requests are left; none: without end.
    fn left(&self) -> Option<u64> {
        (self.granted > 0).then(|| self.granted.saturating_sub(self.made.get()))
    }
}

/// A session as one process writes it for another, its client token in the clear: for a place that nobody else can read.
/// Nothing prints it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Handed<'a> {
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
    proof: Option<Expiry>,
}

impl Session {
    pub(super) fn new(auth: Auth, role: String, index: Option<HeaderValue>, proof: Option<Expiry>) -> Self {
        Self {
            token: auth.client_token,
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

    /// The role that we logged in as.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// How many requests the token was good for at the login; 0 means without end.
    pub(crate) fn uses(&self) -> u64 {
        self.uses.granted
    }

    /// The last request is not to be made but for the revocation: the token's last use ends the leases that it made.
    pub(crate) fn keep_last_use(&self) {
        self.uses.kept.set(1);
    }

    /// Whether no request is left: the server has ended the token by itself.
    pub(crate) fn is_used_up(&self) -> bool {
        self.uses.left() == Some(0)
    }

    /// Counts a request before it is made. The error says that there is none left.
    pub(super) fn spend(&self) -> Result<(), VaultError> {
        match self.uses.left() {
            Some(left) if left <= self.uses.kept.get() => Err(VaultError::new(
                Kind::Denied,
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
    pub(super) fn unspend(&self) {
        self.uses.made.set(self.uses.made.get().saturating_sub(1));
    }

    /// How long the token is still good for, if it was never renewed; none: it never ends.
    pub(crate) fn left(&self) -> Option<Duration> {
        (!self.ttl.is_zero()).then(|| self.ttl.saturating_sub(self.age()))
    }

    /// Until when the token is good that we logged in with, where that token says so.
    pub(crate) fn proof(&self) -> Option<Expiry> {
        self.proof
    }

    /// Whether it is a batch token, which can be neither renewed nor revoked.
    pub(crate) fn is_batch(&self) -> bool {
        self.batch
    }

    /// Warns that nobody knows whether the token was revoked.
    pub(crate) fn may_last(&self) {
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

    /// For another process. None where the token is no text, which none is.
    pub(crate) fn handed(&self) -> Option<Handed<'_>> {
        Some(Handed {
            client_token: std::str::from_utf8(self.token.expose()).ok()?.into(),
            accessor: self.accessor.as_str().into(),
            role: self.role.as_str().into(),
            index: self.index.as_ref().and_then(|index| index.to_str().ok()).map(Cow::from),
            batch: self.batch,
            ttl_s: self.ttl.as_secs(),
            renewable: self.renewable,
            // With none left it would seem to have no limit.
            uses: self.uses.left().map_or(0, |left| left.max(1)),
            proof: self.proof,
        })
    }

    /// The session that another process had, whose login was so long ago. None where its token is none that fits into a
    /// request.
    pub(crate) fn resume(handed: Handed<'_>, age: Duration) -> Option<Self> {
        let token = handed.client_token;
        let fits = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self {
            token: Secret::from(token.into_owned().into_bytes()),
            index: handed.index.and_then(|index| HeaderValue::from_str(&index).ok()),
            batch: handed.batch,
            role: handed.role.into_owned(),
            since: Instant::now().checked_sub(age).unwrap_or_else(Instant::now),
            accessor: handed.accessor.into_owned(),
            ttl: Duration::from_secs(handed.ttl_s),
            renewable: handed.renewable,
            policies: Vec::new(),
            uses: Uses::new(handed.uses),
            proof: handed.proof,
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
        let proof = Expiry {
            exp: 1_700_000_600,
            iat: Some(1_700_000_000),
        };
        Session::new(auth, "web".into(), Some(HeaderValue::from_static("v1:x")), Some(proof))
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_survives_its_way_to_another_process() {
        // A clock that has run for less than the session's age could not tell it.
        tokio::time::advance(Duration::from_secs(100)).await;
        let before = session("s.canary-client-token");
        before.spend().unwrap();
        let json = serde_json::to_string(&before.handed().unwrap()).unwrap();
        let handed: Handed<'_> = serde_json::from_str(&json).unwrap();
        let after = Session::resume(handed, Duration::from_secs(7)).unwrap();
        assert!(after.token == before.token && after.index == before.index);
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
        session.spend().unwrap();
        session.unspend();
        session.spend().unwrap();
        session.spend().unwrap();
        let error = session.spend().unwrap_err();
        assert_eq!(error.kind, Kind::Denied);
        assert!(error.message.contains("3 requests (token_num_uses)"), "{error}");
        assert!(!session.is_used_up());
    }

    #[tokio::test]
    async fn what_is_no_token_makes_no_session() {
        for bad in ["", "a b", "a\nb", "ä"] {
            let json = serde_json::to_string(&session(bad).handed().unwrap()).unwrap();
            let handed: Handed<'_> = serde_json::from_str(&json).unwrap();
            assert!(Session::resume(handed, Duration::ZERO).is_none(), "{bad:?}");
        }
    }
}
