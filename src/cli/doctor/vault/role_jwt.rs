//! A role of the auth method jwt against the token of the pod's account, or of a job. The server compares them as
//! <https://github.com/openbao/openbao/blob/main/builtin/credential/jwt/path_login.go> and `claims.go` do.

use serde_json::Value;

use super::examination::{Examination, PlannedLogin, Subject};
use super::glob::glob;
use super::role_data::{CHECK, Role};
use super::wire::{shown, texts};
use crate::cli::doctor::finding::Findings;
use crate::plan::{GitHubId, JobPolicy};

/// The claims of a service-account token: <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>.
const OF_ACCOUNT: [&str; 8] = ["aud", "exp", "iat", "iss", "jti", "kubernetes.io", "nbf", "sub"];

pub(super) fn subject_of(examination: &Examination<'_>) -> String {
    format!(
        "system:serviceaccount:{}:{}",
        examination.situation.namespace, examination.pod.account
    )
}

/// What is wrong with a role, and how it is mended.
#[derive(Default)]
struct Wrong {
    why: Vec<String>,
    /// The fields that mend the role; each keeps what the field has.
    changes: Vec<String>,
    /// Whether something of it no addition mends.
    is_hopeless: bool,
}

impl Wrong {
    fn add(&mut self, why: String, change: Option<String>) {
        self.why.push(why);
        self.is_hopeless |= change.is_none();
        self.changes.extend(change);
    }
}

pub(super) fn check(examination: &Examination<'_>, login: &PlannedLogin, role: &Role, findings: &mut Findings) {
    let mut wrong = Wrong::default();
    if role.text("role_type") != "jwt" {
        let why = format!(
            "it is of the type {}, and takes no token",
            shown(role.text("role_type"))
        );
        wrong.add(why, None);
    }
    audience(login, role, &mut wrong);
    if login.subject == Subject::Account {
        account(examination, role, &mut wrong);
    } else {
        check_ids(examination, login, role, findings);
    }
    if !wrong.why.is_empty() {
        let message = format!(
            "the role {} does not fit {}: {}",
            login.role,
            examination.who(login),
            wrong.why.join("; ")
        );
        let command = match wrong.is_hopeless {
            true => login.show(examination),
            false => login.change(examination, role, &wrong.changes),
        };
        findings.fault(CHECK, message, Some(command));
    }
}

/// What is wrong with the audiences.
fn audience(login: &PlannedLogin, role: &Role, wrong: &mut Wrong) {
    let bound = role.list("bound_audiences");
    let binds_more = !role.text("bound_subject").is_empty()
        || role.0["bound_claims"]
            .as_object()
            .is_some_and(|claims| !claims.is_empty());
    match &login.audience {
        // A token always has an audience, and the server wants one of them in the role.
        Some(audience) if !bound.contains(audience) => {
            let all: Vec<&str> = bound.iter().chain([audience]).map(String::as_str).collect();
            let is = if bound.is_empty() {
                "none".to_owned()
            } else {
                shown(&bound.join(", "))
            };
            let why = format!("its bound_audiences are {is}, and the token is for {audience}");
            match binds_more {
                true => wrong.add(why, Some(format!("bound_audiences={}", all.join(",")))),
                false => wrong.add(format!("{why} (and it binds no subject and no claim)"), None),
            }
        }
        None if login.subject == Subject::Job && !bound.iter().any(|bound| bound.starts_with("https://")) => wrong.add(
            "its bound_audiences have no URL of a GitHub owner, which GitHub's tokens are for: add the one of yours"
                .to_owned(),
            None,
        ),
        None if bound.is_empty() => wrong.add(
            "it has no bound_audiences, and the token has an audience".to_owned(),
            None,
        ),
        _ => {}
    }
}

/// What does not fit the token of the pod's account.
fn account(examination: &Examination<'_>, role: &Role, wrong: &mut Wrong) {
    let subject = subject_of(examination);
    let bound = role.text("bound_subject");
    if !bound.is_empty() && bound != subject {
        let why = format!(
            "its bound_subject is {}, and the token's subject is {subject}: a role has one subject, so name a role of the pod's own",
            shown(bound)
        );
        wrong.add(why, None);
    }
    let claim = role.text("user_claim");
    let is_there =
        OF_ACCOUNT.contains(&claim) || role.is("user_claim_json_pointer") && claim.starts_with("/kubernetes.io/");
    if !is_there {
        let why = format!(
            "its user_claim {} is not in the token, as `sub` is: a change gives all who use the role other identities",
            shown(claim)
        );
        wrong.add(why, None);
    }
    claims(examination, role, &subject, wrong);
}

/// What does not fit of `bound_claims`. The whole map is written, each claim with the pod's value beside the others.
fn claims(examination: &Examination<'_>, role: &Role, subject: &str, wrong: &mut Wrong) {
    let is_glob = role.text("bound_claims_type") == "glob";
    let known = [
        ("sub", subject),
        ("/sub", subject),
        ("/kubernetes.io/namespace", &examination.situation.namespace),
        ("/kubernetes.io/serviceaccount/name", &examination.pod.account),
    ];
    let mut all = role.0["bound_claims"].as_object().cloned().unwrap_or_default();
    let mut why = Vec::new();
    for (claim, values) in &mut all {
        let Some((_, actual)) = known.iter().find(|(name, _)| name == claim) else {
            let top = claim.trim_start_matches('/').split('/').next().unwrap_or_default();
            if !OF_ACCOUNT.contains(&top) {
                wrong.add(
                    format!("its bound_claims want {}, which is not in the token", shown(claim)),
                    None,
                );
            }
            continue;
        };
        let mut listed = claim_values(values);
        let fits = |value: &String| value == actual || is_glob && glob(value, actual);
        if !listed.iter().any(fits) {
            why.push(format!(
                "its bound_claims want {} to be {}, and it is {actual}",
                shown(claim),
                shown(&listed.join(" or "))
            ));
            listed.push((*actual).to_owned());
            *values = listed.into();
        }
    }
    match why.len() {
        0 => {}
        1 => wrong.add(why.join(", "), Some(format!("bound_claims={}", Value::Object(all)))),
        // The server takes each value of one claim with each value of the other.
        _ => wrong.add(
            format!(
                "{}; an addition to both lets in more than the pod, so name a role of the pod's own",
                why.join(", ")
            ),
            None,
        ),
    }
}

fn claim_values(values: &Value) -> Vec<String> {
    match values {
        Value::String(value) => vec![value.clone()],
        Value::Array(_) => texts(values),
        other => vec![other.to_string()],
    }
}

/// The ids that a policy allows.
type IdsOf = fn(&JobPolicy) -> Option<&Vec<GitHubId>>;

/// The claims that are ids, which nobody can register anew, and the ids of a policy that go with each.
const IDS: [(&str, IdsOf); 2] = [
    ("repository_id", |policy| policy.repository_ids.as_ref()),
    ("repository_owner_id", |policy| policy.owner_ids.as_ref()),
];

/// The role's repositories by name and by id, beside those of the policies.
fn check_ids(examination: &Examination<'_>, login: &PlannedLogin, role: &Role, findings: &mut Findings) {
    let policies: Vec<&JobPolicy> = examination.plan.job.iter().flat_map(|job| &job.policies).collect();
    let (why, claims) = ids_beside(&role.0["bound_claims"], &policies);
    if !why.is_empty() {
        let message = format!("the role {} {}: no job passes both", login.role, why.join(", and "));
        let change = login.change(examination, role, &[format!("bound_claims={claims}")]);
        findings.fault("vault-job", message, Some(change));
    }
    let id = first_id(examination).map_or_else(String::new, |id| format!(" (the job policy allows {id})"));
    // Which other repositories use the role, only the operator knows: no command.
    match binding(role) {
        Binding::Id | Binding::OtherClaim => {}
        Binding::Name(name) => {
            let message = format!(
                "the role {} binds jobs by {name}, a name: whoever registers the name of a deleted repository or owner gets its secrets. Add repository_owner_id{id} to its bound_claims",
                login.role
            );
            findings.warning("vault-job", message, Some(login.show(examination)));
        }
        Binding::Nothing => {
            let message = format!(
                "the role {} binds no repository and no owner: every repository of GitHub with this audience may log in. Add repository_owner_id{id} to its bound_claims",
                login.role
            );
            findings.fault("vault-job", message, Some(login.show(examination)));
        }
    }
}

/// The job policies whose ids the role does not take, in words; and the role's claims with those ids added. The map has all claims of the
/// role, because each write of `bound_claims` replaces the whole map.
fn ids_beside(claims: &Value, policies: &[&JobPolicy]) -> (Vec<String>, Value) {
    let mut all = claims.clone();
    let mut why = Vec::new();
    for (claim, of_policy) in IDS {
        let Some(mut bound) = claims.get(claim).map(claim_values) else {
            continue;
        };
        for wanted in policies.iter().filter_map(|policy| of_policy(policy)) {
            if wanted.iter().any(|id| bound.iter().any(|bound| bound == id.as_str())) {
                continue;
            }
            let ids: Vec<&str> = wanted.iter().map(GitHubId::as_str).collect();
            why.push(format!(
                "takes {claim} {} alone, and the job policy allows {}",
                shown(&bound.join(", ")),
                ids.join(", ")
            ));
            bound.extend(ids.into_iter().map(str::to_owned));
        }
        all[claim] = bound.into();
    }
    (why, all)
}

/// The kind of claim by which a role binds the job's repository.
#[derive(Debug, PartialEq, Eq)]
enum Binding {
    Id,
    Name(&'static str),
    /// Only the operator knows what such a claim binds.
    OtherClaim,
    Nothing,
}

fn binding(role: &Role) -> Binding {
    const NAMES: [&str; 4] = ["repository", "repository_owner", "sub", "job_workflow_ref"];
    let claims = &role.0["bound_claims"];
    if IDS.iter().any(|(claim, _)| claims.get(claim).is_some()) {
        return Binding::Id;
    }
    if let Some(name) = NAMES.iter().find(|name| claims.get(**name).is_some()) {
        return Binding::Name(name);
    }
    if !role.text("bound_subject").is_empty() {
        return Binding::Name("bound_subject");
    }
    match claims.as_object().is_some_and(|claims| !claims.is_empty()) {
        true => Binding::OtherClaim,
        false => Binding::Nothing,
    }
}

/// The first owner that the policies allow.
fn first_id<'e>(examination: &'e Examination<'_>) -> Option<&'e str> {
    let policies = examination.plan.job.iter().flat_map(|job| &job.policies);
    let mut ids = policies.filter_map(|policy| policy.owner_ids.as_ref()).flatten();
    ids.next().map(GitHubId::as_str)
}

/// The fields of a new role for jobs. None: the plan names no owner.
pub(super) fn first_fields_for_jobs(examination: &Examination<'_>) -> Option<Vec<String>> {
    let claims = serde_json::json!({"repository_owner_id": first_id(examination)?});
    Some(vec![
        "role_type=jwt".to_owned(),
        "user_claim=repository_id".to_owned(),
        format!("bound_claims={claims}"),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_that_takes_none_of_the_policy_s_ids_is_told_with_all_claims_of_the_new_role() {
        let policy: JobPolicy =
            serde_json::from_value(json!({"ownerIds": ["17", "18"], "repositoryIds": ["5"]})).unwrap();
        let claims = json!({"repository_owner_id": "12", "repository_id": ["5", "6"], "environment": "prod"});
        let (why, all) = ids_beside(&claims, &[&policy]);
        assert_eq!(
            why,
            ["takes repository_owner_id 12 alone, and the job policy allows 17, 18"]
        );
        let expected =
            json!({"repository_owner_id": ["12", "17", "18"], "repository_id": ["5", "6"], "environment": "prod"});
        assert_eq!(all, expected);
        for passes in [
            json!({"repository_owner_id": ["18"]}),
            json!({"repository": "a/b"}),
            json!({}),
            Value::Null,
        ] {
            assert_eq!(ids_beside(&passes, &[&policy]), (Vec::new(), passes.clone()));
        }
    }

    #[test]
    fn a_role_is_known_by_what_binds_its_repositories() {
        for (role, expected) in [
            (
                json!({"bound_claims": {"repository_id": 5, "repository": "a/b"}}),
                Binding::Id,
            ),
            (
                json!({"bound_claims": {"repository": "a/b", "environment": "prod"}}),
                Binding::Name("repository"),
            ),
            (
                json!({"bound_subject": "repo:a/b:ref:refs/heads/main"}),
                Binding::Name("bound_subject"),
            ),
            (json!({"bound_claims": {"environment": "prod"}}), Binding::OtherClaim),
            (json!({"bound_claims": {}, "bound_subject": ""}), Binding::Nothing),
            (json!({"bound_claims": null}), Binding::Nothing),
        ] {
            assert_eq!(binding(&Role(role.clone())), expected, "{role}");
        }
    }
}
