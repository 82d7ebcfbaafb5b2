//! Whether a job may have the secrets of its pod: the connection's policy and the pod's policy must both allow the job.
//!
//! Without any policy the default policy applies: any repository and event, but no pull request from another repository. GitHub
//! gives its own secrets to no such pull request, and podkey must not be a way around that rule. podkey's rule also covers
//! `pull_request_target`, to which GitHub does give secrets, because attacks use this event. A pull request that does not name its
//! repository is refused like a pull request from another repository.

use std::fmt;

use super::facts::{CodeOrigin, JobFacts, OWNER_ID_ENV, REPOSITORY_ID_ENV};
use crate::plan::{Forks, JobPolicy, Pattern};
use crate::text::quoted;

/// Every reason why the job gets no secrets. Does not contain the lists of the policies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Refused(Vec<String>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the job policy refuses this job: {}", self.0.join("; "))
    }
}

/// The remedy, for the author of the workflow or of the pod.
pub(crate) const HINT: &str = "run the job where its policy allows it, or change podkey.dev/job-policy (the pod's) or job.policy \
    (the connection's, in the operator's config)";

/// Checks a job against all policies.
pub(crate) fn check(policies: &[JobPolicy], facts: &JobFacts) -> Result<(), Refused> {
    let default = [JobPolicy::default()];
    let policies = if policies.is_empty() { &default } else { policies };
    let mut reasons: Vec<String> = Vec::new();
    for reason in policies.iter().flat_map(|policy| reasons_of(policy, facts)) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(Refused(reasons)),
    }
}

fn reasons_of(policy: &JobPolicy, facts: &JobFacts) -> Vec<String> {
    let listed = |list: &Option<Vec<Pattern>>, text: &str| match list {
        None => true,
        Some(patterns) => patterns.iter().any(|pattern| pattern.matches(text)),
    };
    let mut reasons = Vec::new();
    if !listed(&policy.repositories, &facts.repository) {
        reasons.push(format!("the repository {} is not allowed", quoted(&facts.repository)));
    }
    let ids = [
        (
            &policy.repository_ids,
            &facts.repository_id,
            "repository",
            REPOSITORY_ID_ENV,
        ),
        (&policy.owner_ids, &facts.owner_id, "repository's owner", OWNER_ID_ENV),
    ];
    for (allowed, id, whose, variable) in ids {
        match allowed {
            Some(_) if id.is_empty() => reasons.push(format!(
                "the policy names ids, and the runner does not say which id the {whose} has ({variable}): update the runner"
            )),
            Some(allowed) if !allowed.iter().any(|known| known.as_str() == id) => {
                reasons.push(format!("the id {} of the {whose} is not allowed", quoted(id)));
            }
            _ => {}
        }
    }
    if !listed(&policy.events, &facts.event) {
        reasons.push(format!("the event {} is not allowed", quoted(&facts.event)));
    }
    if policy.protected_refs && !facts.ref_protected {
        reasons.push(format!("the ref {} is not protected", quoted(&facts.full_ref)));
    }
    if policy.forks == Forks::Deny {
        match &facts.origin {
            CodeOrigin::Own | CodeOrigin::SameRepository => {}
            CodeOrigin::Fork(Some(fork)) => reasons.push(format!(
                "the pull request is from {}, another repository (forks: allow permits it)",
                quoted(fork)
            )),
            CodeOrigin::Fork(None) => reasons
                .push("the pull request is from a repository that was deleted (forks: allow permits it)".to_owned()),
            CodeOrigin::Unknown => reasons.push(
                "its event does not say which repository the pull request is from (forks: allow permits it)".to_owned(),
            ),
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> JobFacts {
        JobFacts {
            repository: "octo-org/octo-repo".to_owned(),
            repository_id: "456789".to_owned(),
            owner_id: "123456".to_owned(),
            event: "push".to_owned(),
            full_ref: "refs/heads/main".to_owned(),
            ref_name: "main".to_owned(),
            ref_protected: false,
            job: "build".to_owned(),
            run_id: "1".to_owned(),
            run_attempt: "1".to_owned(),
            origin: CodeOrigin::Own,
        }
    }

    fn policy(json: &str) -> JobPolicy {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_field_of_every_policy_must_allow_the_job() {
        let all =
            r#"{"repositories":["octo-org/*"],"events":["push","workflow_*"],"protectedRefs":true,"forks":"allow"}"#;
        let protected = |facts: &mut JobFacts| facts.ref_protected = true;
        let nothing = |_: &mut JobFacts| {};
        type FactsChange = fn(&mut JobFacts);
        for (policies, change, expected) in [
            (vec![], nothing as FactsChange, ""),
            (vec!["{}"], nothing, ""),
            (vec![all], protected, ""),
            (vec![all], nothing, "the ref \"refs/heads/main\" is not protected"),
            (
                vec![all],
                |f| f.repository = "octo-org2/x".to_owned(),
                "the repository \"octo-org2/x\" is not allowed; the ref",
            ),
            (
                vec![all],
                |f| f.event = "schedule".to_owned(),
                "the event \"schedule\" is not allowed; the ref",
            ),
            (
                vec![r#"{"repositoryIds":["1","456789"],"ownerIds":["123456"]}"#],
                nothing,
                "",
            ),
            (
                vec![r#"{"repositoryIds":["456789"]}"#],
                |f| f.repository = "octo-org/new-name".to_owned(),
                "",
            ),
            (
                vec![r#"{"repositories":["octo-org/octo-repo"],"repositoryIds":["456789"]}"#],
                |f| f.repository_id = "999999".to_owned(),
                "the id \"999999\" of the repository is not allowed",
            ),
            (
                vec![r#"{"repositories":["octo-org/*"],"ownerIds":["123456"]}"#],
                |f| f.owner_id = "45".to_owned(),
                "the id \"45\" of the repository's owner is not allowed",
            ),
            (
                vec![r#"{"repositoryIds":["123456"]}"#],
                nothing,
                "the id \"456789\" of the repository is not allowed",
            ),
            (
                vec![r#"{"repositoryIds":["45678"],"ownerIds":["1234567"]}"#],
                nothing,
                "the id \"456789\" of the repository is not allowed; the id \"123456\" of the repository's owner is not allowed",
            ),
            (vec![r#"{"ownerIds":[]}"#], nothing, "the id \"123456\""),
            (
                vec![r#"{"repositoryIds":["456789"]}"#],
                |f| f.repository_id.clear(),
                "the runner does not say which id the repository has (GITHUB_REPOSITORY_ID): update the runner",
            ),
            (
                vec![r#"{"ownerIds":["123456"]}"#],
                |f| f.owner_id.clear(),
                "which id the repository's owner has (GITHUB_REPOSITORY_OWNER_ID): update the runner",
            ),
            (vec!["{}"], |f| f.repository_id.clear(), ""),
            (
                vec![r#"{"ownerIds":["123456"]}"#, r#"{"repositoryIds":["1"]}"#],
                nothing,
                "the id \"456789\"",
            ),
            (vec![r#"{"events":[]}"#], nothing, "the event \"push\" is not allowed"),
            (vec![r#"{"repositories":["*"]}"#], nothing, "the repository"),
            (vec![r#"{"repositories":["**"]}"#], nothing, ""),
            (
                vec!["{}", r#"{"events":["schedule"]}"#],
                nothing,
                "the event \"push\" is not allowed",
            ),
            (
                vec![r#"{"repositories":["octo-org/*"]}"#],
                |f| f.repository.clear(),
                "the repository \"\"",
            ),
        ] {
            let policies: Vec<_> = policies.into_iter().map(policy).collect();
            let mut facts = facts();
            change(&mut facts);
            match check(&policies, &facts) {
                Ok(()) => assert_eq!(expected, "", "{policies:?}"),
                Err(refused) => {
                    let text = refused.to_string();
                    assert!(!expected.is_empty() && text.contains(expected), "{policies:?}: {text}");
                    assert!(!text.contains("octo-org/*"), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_fork_gets_nothing_unless_every_policy_allows_forks() {
        let fork = CodeOrigin::Fork(Some("mallory/octo-repo".to_owned()));
        for (policies, origin, allowed) in [
            (vec![], CodeOrigin::SameRepository, true),
            (vec![], fork.clone(), false),
            (vec![], CodeOrigin::Fork(None), false),
            (vec![], CodeOrigin::Unknown, false),
            (vec!["{}"], fork.clone(), false),
            (vec![r#"{"forks":"allow"}"#], fork.clone(), true),
            (vec![r#"{"forks":"allow"}"#], CodeOrigin::Unknown, true),
            (vec![r#"{"forks":"allow"}"#, "{}"], fork.clone(), false),
            (vec![r#"{"forks":"allow"}"#, r#"{"forks":"allow"}"#], fork, true),
        ] {
            let facts = JobFacts { origin, ..facts() };
            let policies: Vec<_> = policies.into_iter().map(policy).collect();
            assert_eq!(
                check(&policies, &facts).is_ok(),
                allowed,
                "{policies:?} {:?}",
                facts.origin
            );
        }
        // A reason that two policies have is reported once.
        let unknown = JobFacts {
            origin: CodeOrigin::Unknown,
            ..facts()
        };
        let text = check(&[policy("{}"), policy("{}")], &unknown).unwrap_err().to_string();
        assert_eq!(text.matches("forks: allow").count(), 1, "{text}");
    }
}
