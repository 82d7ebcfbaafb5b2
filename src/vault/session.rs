//! The right to ask the server, from a login until it is revoked, and how it goes from one process to another.

use std::borrow::Cow;
use std::cell::Cell;
use std::time::Duration;

use http::header::HeaderValue;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::answer::Auth;
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
    /// How often it may be used; 0 means without end.
    pub uses: u64,
    /// How many requests were sent with it.
    pub(super) spent: Cell<u64>,
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
}

impl Session {
    pub(super) fn new(auth: Auth, role: String, index: Option<HeaderValue>) -> Self {
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
            uses: auth.uses,
            spent: Cell::new(0),
        }
    }

    /// How often it may be used, where more requests than that were sent.
    pub(super) fn used_up(&self) -> Option<u64> {
        (self.uses > 0 && self.spent.get() > self.uses).then_some(self.uses)
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

    /// For another process, after so many requests. None where the token is no text, which none is.
    pub(crate) fn handed(&self, requests: u64) -> Option<Handed<'_>> {
        Some(Handed {
            client_token: std::str::from_utf8(self.token.expose()).ok()?.into(),
            accessor: self.accessor.as_str().into(),
            role: self.role.as_str().into(),
            index: self.index.as_ref().and_then(|index| index.to_str().ok()).map(Cow::from),
            batch: self.batch,
            ttl_s: self.ttl.as_secs(),
            renewable: self.renewable,
            // With none left it would seem to have no limit.
            uses: if self.uses == 0 {
                0
            } else {
                self.uses.saturating_sub(requests).max(1)
            },
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
            uses: handed.uses,
            spent: Cell::new(0),
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
        Session::new(auth, "web".into(), Some(HeaderValue::from_static("v1:x")))
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_survives_its_way_to_another_process() {
        // A clock that has run for less than the session's age could not tell it.
        tokio::time::advance(Duration::from_secs(100)).await;
        let before = session("s.canary-client-token");
        let json = serde_json::to_string(&before.handed(1).unwrap()).unwrap();
        let handed: Handed<'_> = serde_json::from_str(&json).unwrap();
        let after = Session::resume(handed, Duration::from_secs(7)).unwrap();
        assert!(after.token == before.token && after.index == before.index);
        assert_eq!((after.accessor.as_str(), after.role.as_str()), ("acc", "web"));
        assert_eq!(
            (after.ttl, after.renewable, after.batch, after.uses),
            (before.ttl, true, false, 2)
        );
        assert_eq!(after.age(), Duration::from_secs(7));
    }

    #[tokio::test]
    async fn what_is_no_token_makes_no_session() {
        for bad in ["", "a b", "a\nb", "ä"] {
            let json = serde_json::to_string(&session(bad).handed(0).unwrap()).unwrap();
            let handed: Handed<'_> = serde_json::from_str(&json).unwrap();
            assert!(Session::resume(handed, Duration::ZERO).is_none(), "{bad:?}");
        }
    }
}
