//! What a refused login means: the role, the token, the token reviewer, or the mount.

use std::time::Duration;

use super::{Classified, retry};
use crate::http::{Pause, RetryDecision, RetryWindow};
use crate::plan::{AuthMethod, Login};
use crate::vault::error::{VaultError, VaultErrorKind};
use crate::vault::error_response::{ErrorResponse, Meaning};

/// Errors of the kubernetes method that name the reason.
const NAMED_DENIALS: [&str; 6] = [
    "service account name not authorized",
    "namespace not authorized",
    "invalid audience (aud) claim",
    "service account not authorized",
    "token expired",
    "could not load backend configuration",
];

/// How long another node may not know a new mount.
const MOUNT_SPREADS: Duration = Duration::from_secs(10);
/// How long to try again after a denial without a reason, which may be one of a new pod, service account or config.
const BARE_DENIAL: Duration = Duration::from_secs(30);

pub(super) fn refused(login: &Login, identity: &str, response: &ErrorResponse) -> Classified {
    let Login { mount, role, .. } = login;
    let words = response.words();
    if let Some(Meaning::SecondFactor(enforcements)) = &response.meaning {
        return second_factor(login, enforcements);
    }
    if response.head.status == 404 || response.says("no handler for route") || response.says("unsupported path") {
        return retry(
            Pause::Jitter,
            RetryWindow::SinceFirst(MOUNT_SPREADS),
            VaultErrorKind::NoEngine,
            format!("no auth method is mounted at auth/{mount} ({words})"),
            "check the auth mount and the connection's namespace",
        );
    }
    if response.says("invalid role name") || response.says("could not be found") {
        return RetryDecision::GiveUp(denied(
            format!("the role {role} does not exist at auth/{mount} ({words})"),
            "create the role, or correct the annotation podkey.dev/role",
        ));
    }
    if response.head.status == 403 {
        return match NAMED_DENIALS.iter().any(|named| response.says(named)) {
            true => named_denial(login, identity, &words),
            false => bare_denial(login, identity, &words),
        };
    }
    RetryDecision::GiveUp(denied(
        format!("the login at auth/{mount} as {role} was refused ({words})"),
        hint(identity, response),
    ))
}

fn denied(message: String, hint: impl Into<String>) -> VaultError {
    VaultError::new(VaultErrorKind::Denied, message, hint)
}

fn second_factor(Login { mount, role, .. }: &Login, enforcements: &[String]) -> Classified {
    let by = match enforcements {
        [] => String::new(),
        names => format!(", by the enforcement {}", names.join(", ")),
    };
    RetryDecision::GiveUp(denied(
        format!("the login at auth/{mount} as {role} needs a second factor (login MFA{by}), and a pod has none"),
        "take this auth mount, or the role's entity or group, out of that login MFA enforcement (identity/mfa/login-enforcement)",
    ))
}

fn named_denial(Login { mount, role, .. }: &Login, identity: &str, words: &str) -> Classified {
    let error = denied(
        format!("the role {role} at auth/{mount} does not accept this pod's token ({words})"),
        format!("podkey sent {identity}: compare with the role's bound service accounts, namespaces and audience"),
    );
    RetryDecision::Retry(Pause::Fixed(Duration::from_secs(2)), RetryWindow::Once, error)
}

fn bare_denial(
    Login {
        mount, role, method, ..
    }: &Login,
    identity: &str,
    words: &str,
) -> Classified {
    let checklist = match method {
        AuthMethod::Kubernetes => format!(
            "podkey sent {identity}. The server does not say why; check in this order: the mount exists; the token reviewer has \
             system:auth-delegator; the server reaches the Kubernetes API; token_reviewer_jwt is set and valid (a token with an \
             audience of its own cannot review itself); the pod and its service account still exist; the API server \
             accepts the audience; bound CIDRs"
        ),
        AuthMethod::Jwt => format!(
            "podkey sent {identity}. Check that the mount exists, its validation keys, and the role's bound CIDRs"
        ),
    };
    RetryDecision::Retry(
        Pause::Jitter,
        RetryWindow::SinceFirst(BARE_DENIAL),
        denied(
            format!("the login at auth/{mount} as {role} was denied ({words})"),
            checklist,
        ),
    )
}

/// What to do about a refusal of the jwt method.
fn hint(identity: &str, response: &ErrorResponse) -> String {
    let says = |text| response.says(text);
    if says("no audiences bound to the role") {
        format!("set bound_audiences of the role to the audience of the token; podkey sent {identity}")
    } else if says("expired") || says("not yet valid") || says("issued at") {
        format!("compare the clocks of this node and of the server; podkey sent {identity}")
    } else if says("audience") {
        format!("podkey sent {identity}: compare with bound_audiences of the role")
    } else if says("validating claims") || says("subject") {
        let sub = match says("\"sub\"") || says("(sub)") {
            true => ". GitHub writes ids into sub of a new or renamed repository: bind repository_id rather than sub",
            false => "",
        };
        format!("podkey sent {identity}: compare with bound_claims and bound_subject of the role{sub}")
    } else if says("signature") || says("no known key") {
        "the mount's jwt_validation_pubkeys, jwks_url or oidc_discovery_url are not those of this cluster".to_owned()
    } else {
        format!("podkey sent {identity}")
    }
}
