//! The client token of a sidecar: what the token is good for, and its revocation at the end of the process.

use std::time::{Duration, SystemTime};

use crate::plan::{AuthMethod, Login, Plan};
use crate::schedule::{Grant, Proof};
use crate::vault::{Revoked, Session, Vault};

/// How long one request may take, from the connection to the whole answer.
pub(super) const REQUEST: Duration = Duration::from_secs(15);

/// What the token of a session is good for.
pub(super) fn grant(session: &Session, plan: &Plan, login: &Login) -> Grant {
    let proof = match login.method {
        // The app would lose its token with each new login. vault-k8s, too, renews the token until the server refuses.
        _ if plan.token_file.is_some() => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::SessionHandover;

    #[test]
    fn a_token_that_the_app_has_is_kept_as_long_as_the_server_renews_it() {
        let exp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            + 600;
        let json = format!(
            r#"{{"clientToken":"s.t","accessor":"a","role":"web","batch":false,"ttlS":60,"renewable":true,"uses":0,
                 "proof":{{"exp":{exp},"iat":{}}}}}"#,
            exp - 600
        );
        let handover: SessionHandover<'_> = serde_json::from_str(&json).unwrap();
        let session = Session::resume(handover, Duration::ZERO).unwrap();
        let logs_in_anew = |token_file: &str| {
            let plan = format!(
                r#"{{"version":1,"connection":{{"name":"a","address":"https://v"}},"budget":"5m","files":[],
                     "login":{{"method":"kubernetes","mount":"kubernetes","role":"web"}},
                     {token_file}
                     "ignoreNotFound":false}}"#
            );
            let plan: Plan = serde_json::from_str(&plan).unwrap();
            let login = plan.login.clone().unwrap();
            grant(&session, &plan, &login).proof.is_some()
        };
        assert!(logs_in_anew(""));
        assert!(!logs_in_anew(
            r#""tokenFile":{"file":"/vault/secrets:token","mode":"0400"},"#
        ));
    }
}
