//! How long the client token lives, and what that means for podkey: the sidecar renews the token at about two thirds of its life, and
//! logs in again before its last end.

use super::examination::{Examination, PlannedLogin, Subject};
use super::login::Session;
use super::mount::MountLimits;
use super::role_data::Role;
use crate::cli::doctor::finding::Findings;

/// A life that makes the sidecar renew or log in more than once a minute, in seconds.
const SHORT_WITH_REFRESH: u64 = 60;
/// A life in which a slow pod does not finish its reads, in seconds.
const SHORT: u64 = 10;

/// Warns of a token that lives too short.
pub(super) fn check(
    examination: &Examination<'_>,
    login: &PlannedLogin,
    role: Option<&Role>,
    limits: MountLimits,
    session: Option<&Session>,
    findings: &mut Findings,
) {
    let Some((limit, seconds)) = shortest(role, limits, session) else {
        return;
    };
    let refreshes = login.subject == Subject::Account && examination.plan.refresh.is_some();
    let needed = if refreshes { SHORT_WITH_REFRESH } else { SHORT };
    if seconds >= needed {
        return;
    }
    let why = match refreshes {
        true => "the sidecar renews it, or logs in again, more than once a minute",
        false => "a slow pod does not finish its reads",
    };
    let message = format!(
        "a token of the role {} lives {seconds}s ({limit}): {why}. At least {needed}s are better",
        login.role
    );
    findings.warning("vault-role", message, Some(login.show(examination)));
}

/// What limits the life of a token, and the life. The rules: <https://openbao.org/docs/concepts/tokens/#token-time-to-live-periodic-tokens-and-explicit-max-ttls>.
fn shortest(role: Option<&Role>, limits: MountLimits, session: Option<&Session>) -> Option<(&'static str, u64)> {
    let of_role = |field: &str| role.map_or(0, |role| role.number(field));
    let first = match (of_role("token_period"), of_role("token_ttl")) {
        (0, 0) => ("the mount's default_lease_ttl", limits.default),
        (0, ttl) => ("token_ttl", ttl),
        // A period takes the place of the TTL.
        (period, _) => ("token_period", period),
    };
    let all = [
        first,
        ("token_explicit_max_ttl", of_role("token_explicit_max_ttl")),
        ("token_max_ttl", of_role("token_max_ttl")),
        ("the mount's max_lease_ttl", limits.max),
        ("the login's answer", session.map_or(0, |session| session.seconds)),
    ];
    let known = all.into_iter().filter(|(_, seconds)| *seconds > 0);
    known.min_by_key(|(_, seconds)| *seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_period_takes_the_place_of_the_ttl_and_the_mount_limits_both() {
        let of = |role: serde_json::Value, limits| shortest(Some(&Role(role)), limits, None);
        let none = MountLimits::default();
        assert_eq!(
            of(json!({"token_ttl": 5, "token_period": 3600}), none),
            Some(("token_period", 3600))
        );
        assert_eq!(of(json!({"token_ttl": 1200}), none), Some(("token_ttl", 1200)));
        let short = MountLimits { default: 300, max: 30 };
        assert_eq!(
            of(json!({"token_ttl": 1200}), short),
            Some(("the mount's max_lease_ttl", 30))
        );
        assert_eq!(of(json!({}), none), None);
    }
}
