//! The client token of a sidecar: what the token is good for, and its revocation at the end of the process.

use std::time::{Duration, SystemTime};

use crate::plan::{AuthMethod, Login};
use crate::schedule::{Grant, Proof};
use crate::vault::{Revoked, Session, Vault};

/// How long one request may take, from the connection to the whole answer.
pub(super) const REQUEST: Duration = Duration::from_secs(15);

/// What the token of a session is good for.
pub(super) fn grant(session: &Session, login: &Login) -> Grant {
    let proof = match login.method {
        AuthMethod::Kubernetes => session.proof().and_then(|proof| proof.left(SystemTime::now())),
        // Servers review no service-account token of this method at a renewal. If a server does, it denies the renewal, and
        // the sidecar logs in again.
        AuthMethod::Jwt => None,
    };
    Grant {
        ttl: session.ttl,
        renewable: session.renewable && !session.is_batch(),
        uses: session.uses(),
        proof: proof.map(|(left, life)| Proof { left, life }),
    }
}

/// Revokes a token at the end of the process. Returns how many tokens may be left: 0 or 1.
pub(super) async fn revoke_at_end(vault: &Vault, session: &Session, limit: Duration) -> usize {
    let revoked = vault.revoke(session, limit).await;
    if revoked == Revoked::Unanswered {
        session.warn_unconfirmed_revocation();
    }
    usize::from(revoked != Revoked::Yes)
}
