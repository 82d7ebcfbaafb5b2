//! What a refused login means: the role, the token, the reviewer, or the mount.

use std::time::Duration;

use super::{Patience, Pause, Verdict, retry};
use crate::plan::{AuthMethod, Login};
use crate::vault::error::{Kind, Meaning, Refusal, VaultError};

/// What the kubernetes method says when it knows why.
const NAMED_DENIALS: [&str; 6] = [
    "service account name not authorized",
    "namespace not authorized",
    "invalid audience (aud) claim",
    "service account not authorized",
    "token expired",
    "could not load backend configuration",
];

pub(super) fn refused(login: &Login, identity: &str, refusal: &Refusal) -> Verdict {
    let Login { mount, role, method } = login;
    let words = refusal.words();
    let denied = |message: String, hint: String| VaultError::new(Kind::Denied, message, hint);
    if let Some(Meaning::SecondFactor(enforcements)) = &refusal.meaning {
        let by = match enforcements.is_empty() {
            true => String::new(),
            false => format!(", by the enforcement {}", enforcements.join(", ")),
        };
        return Verdict::Fatal(denied(
            format!("the login at auth/{mount} as {role} needs a second factor (login MFA{by}), and a pod has none"),
            "take this auth mount, or the role's entity or group, out of that login MFA enforcement (identity/mfa/login-enforcement)"
                .to_owned(),
        ));
    }
    if refusal.head.status == 404 || refusal.says("no handler for route") || refusal.says("unsupported path") {
        return retry(
            Pause::Jitter,
            Patience::For(Duration::from_secs(10)),
            Kind::NoEngine,
            format!("no auth method is mounted at auth/{mount} ({words})"),
            "check the auth mount and the connection's namespace",
        );
    }
    if refusal.says("invalid role name") || refusal.says("could not be found") {
        return Verdict::Fatal(denied(
            format!("the role {role} does not exist at auth/{mount} ({words})"),
            "create the role, or correct the annotation podkey.dev/role".to_owned(),
        ));
    }
    if refusal.head.status == 403 {
        if NAMED_DENIALS.iter().any(|named| refusal.says(named)) {
            return Verdict::Retry(
                Pause::Fixed(Duration::from_secs(2)),
                Patience::Once,
                denied(
                    format!("the role {role} at auth/{mount} does not take this pod's token ({words})"),
                    format!(
                        "we sent {identity}: compare with the role's bound service accounts, namespaces and audience"
                    ),
                ),
            );
        }
        let checklist = match method {
            AuthMethod::Kubernetes => format!(
                "we sent {identity}. The server does not say why; check in this order: the mount exists; the token reviewer has \
                 system:auth-delegator; the server reaches the Kubernetes API; token_reviewer_jwt is set and valid (a token with an \
                 audience of its own cannot review itself); the pod and its service account still exist; the API server \
                 accepts the audience; bound CIDRs"
            ),
            AuthMethod::Jwt => {
                format!(
                    "we sent {identity}. Check that the mount exists, its validation keys, and the role's bound CIDRs"
                )
            }
        };
        return Verdict::Retry(
            Pause::Jitter,
            Patience::For(Duration::from_secs(30)),
            denied(
                format!("the login at auth/{mount} as {role} was denied ({words})"),
                checklist,
            ),
        );
    }
    let hint = if refusal.says("no audiences bound to the role") {
        format!("set bound_audiences of the role to the audience we sent; we sent {identity}")
    } else if refusal.says("expired") || refusal.says("not yet valid") || refusal.says("issued at") {
        format!("compare the clocks of this node and of the server; we sent {identity}")
    } else if refusal.says("audience") {
        format!("we sent {identity}: compare with bound_audiences of the role")
    } else if refusal.says("signature") || refusal.says("no known key") {
        "the mount's jwt_validation_pubkeys, jwks_url or oidc_discovery_url are not those of this cluster".to_owned()
    } else {
        format!("we sent {identity}")
    };
    Verdict::Fatal(denied(
        format!("the login at auth/{mount} as {role} was refused ({words})"),
        hint,
    ))
}
