//! The facts about a job that the runner gives to its hooks: variables, and the event's payload. The runner sets them before any code
//! of the job runs; the workflow's `env:` does not reach a hook.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>

use serde::Deserialize;

use crate::text::quoted;

/// The id of the job's repository. The runner takes the id, like the name, from GitHub's message about the job, and replaces a
/// variable of that name that the pod has. Neither `env:` in the workflow nor a step before reaches the hook.
/// <https://github.com/actions/runner/blob/main/src/Runner.Worker/GitHubContext.cs>
pub(crate) const REPOSITORY_ID_ENV: &str = "GITHUB_REPOSITORY_ID";
/// The id of the repository's owner.
pub(crate) const OWNER_ID_ENV: &str = "GITHUB_REPOSITORY_OWNER_ID";

/// The facts of a job that a decision depends on. A text is empty if the runner did not set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobFacts {
    /// `GITHUB_REPOSITORY`, such as `octo-org/octo-repo`. For a pull request: the base repository.
    pub(crate) repository: String,
    /// `GITHUB_REPOSITORY_ID`: unlike the name, never given to another repository.
    pub(crate) repository_id: String,
    /// `GITHUB_REPOSITORY_OWNER_ID`, of the user or the organization.
    pub(crate) owner_id: String,
    /// `GITHUB_EVENT_NAME`, such as `push`.
    pub(crate) event: String,
    /// `GITHUB_REF`, such as `refs/heads/main`.
    pub(crate) full_ref: String,
    /// `GITHUB_REF_NAME`, such as `main`, or `7/merge` in a pull request.
    pub(crate) ref_name: String,
    /// `GITHUB_REF_PROTECTED`: the ref has branch protection or a ruleset.
    pub(crate) ref_protected: bool,
    /// `GITHUB_JOB`, the key of the job in its workflow.
    pub(crate) job: String,
    /// `GITHUB_RUN_ID`.
    pub(crate) run_id: String,
    /// `GITHUB_RUN_ATTEMPT`.
    pub(crate) run_attempt: String,
    /// The repository that the job's code is from.
    pub(crate) origin: CodeOrigin,
}

/// GitHub's token is for another repository than the job that the runner runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("GitHub's token has the {claim} {claimed}, and the runner's {variable} is {fact}")]
pub(crate) struct OtherId {
    claim: &'static str,
    claimed: String,
    variable: &'static str,
    fact: String,
}

/// The remedy for [`OtherId`].
pub(crate) const OTHER_ID_HINT: &str = "the token is for another repository than the job: check what sets the variables that begin \
    with GITHUB_ and ACTIONS_ in the runner's container";

/// The repository that the code of a job is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CodeOrigin {
    /// The job's repository: the event is not about a pull request.
    Own,
    /// A pull request from a branch of the job's repository.
    SameRepository,
    /// A pull request from this other repository. None: that repository was deleted.
    Fork(Option<String>),
    /// A pull request whose payload does not name its repository.
    Unknown,
}

impl JobFacts {
    /// Reads the facts from the hook's environment, and from the text of the file `GITHUB_EVENT_PATH`.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>, event_payload: Option<&str>) -> Self {
        let text = |name: &str| variable(name).unwrap_or_default();
        let event = text("GITHUB_EVENT_NAME");
        Self {
            origin: origin(&event, event_payload),
            repository: text("GITHUB_REPOSITORY"),
            repository_id: text(REPOSITORY_ID_ENV),
            owner_id: text(OWNER_ID_ENV),
            full_ref: text("GITHUB_REF"),
            ref_name: text("GITHUB_REF_NAME"),
            ref_protected: text("GITHUB_REF_PROTECTED") == "true",
            job: text("GITHUB_JOB"),
            run_id: text("GITHUB_RUN_ID"),
            run_attempt: text("GITHUB_RUN_ATTEMPT"),
            event,
        }
    }

    /// Compares the ids with the claims of GitHub's token: the server decides by the token, and the policy and the paths by the
    /// runner's facts. An id that one of the two does not have is not compared.
    pub(crate) fn check_ids(&self, claim_of: impl Fn(&str) -> Option<String>) -> Result<(), OtherId> {
        let ids = [
            ("repository_id", REPOSITORY_ID_ENV, &self.repository_id),
            ("repository_owner_id", OWNER_ID_ENV, &self.owner_id),
        ];
        for (claim, variable, fact) in ids {
            if let Some(claimed) = claim_of(claim).filter(|claimed| !fact.is_empty() && claimed != fact) {
                return Err(OtherId {
                    claim,
                    claimed: quoted(&claimed),
                    variable,
                    fact: quoted(fact),
                });
            }
        }
        Ok(())
    }
}

/// The payload of an event. `pull_request`, `pull_request_target`, `pull_request_review` and `pull_request_review_comment` contain the
/// whole pull request. `workflow_run` contains the repository of the commit that the other workflow ran on: the fork, if that
/// workflow ran for a fork's pull request.
#[derive(Deserialize)]
struct Payload {
    pull_request: Option<PullRequest>,
    workflow_run: Option<WorkflowRun>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct WorkflowRun {
    /// Null if the repository was deleted.
    head_repository: Option<Repository>,
}

#[derive(Deserialize)]
struct PullRequest {
    head: Option<Side>,
    base: Option<Side>,
}

#[derive(Deserialize)]
struct Side {
    /// Null if the repository was deleted.
    repo: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    id: u64,
    full_name: String,
}

fn origin(event: &str, payload: Option<&str>) -> CodeOrigin {
    // If the runner names no event, the origin is unknown.
    let may_be_a_forks = event.is_empty() || event.starts_with("pull_request") || event == "workflow_run";
    let Some(payload) = payload.and_then(|json| serde_json::from_str::<Payload>(json).ok()) else {
        return if may_be_a_forks {
            CodeOrigin::Unknown
        } else {
            CodeOrigin::Own
        };
    };
    let (head, base) = match (payload.pull_request, payload.workflow_run) {
        (
            Some(PullRequest {
                head: Some(head),
                base: Some(base),
            }),
            _,
        ) => (head.repo, base.repo),
        (Some(_), _) => return CodeOrigin::Unknown,
        (None, Some(run)) => (run.head_repository, payload.repository),
        (None, None) if may_be_a_forks => return CodeOrigin::Unknown,
        (None, None) => return CodeOrigin::Own,
    };
    match (head, base) {
        (_, None) => CodeOrigin::Unknown,
        (None, _) => CodeOrigin::Fork(None),
        (Some(head), Some(base)) if head.id == base.id => CodeOrigin::SameRepository,
        (Some(head), _) => CodeOrigin::Fork(Some(head.full_name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_recognised_by_the_repository_of_the_pull_request_s_head() {
        let pull_request = |head: &str, base: &str| {
            format!(r#"{{"action":"opened","pull_request":{{"head":{{"repo":{head}}},"base":{{"repo":{base}}}}}}}"#)
        };
        let ours = r#"{"id":1,"full_name":"octo-org/octo-repo","fork":false}"#;
        let theirs = r#"{"id":2,"full_name":"mallory/octo-repo","fork":true}"#;
        let renamed = r#"{"id":1,"full_name":"octo-org/old-name"}"#;
        let namesake = r#"{"id":2,"full_name":"octo-org/octo-repo"}"#;
        for (event, payload, expected) in [
            ("push", Some(r#"{"ref":"refs/heads/main"}"#.to_owned()), CodeOrigin::Own),
            ("push", None, CodeOrigin::Own),
            ("workflow_dispatch", Some("no JSON".to_owned()), CodeOrigin::Own),
            (
                "pull_request",
                Some(pull_request(ours, ours)),
                CodeOrigin::SameRepository,
            ),
            (
                "pull_request",
                Some(pull_request(theirs, ours)),
                CodeOrigin::Fork(Some("mallory/octo-repo".to_owned())),
            ),
            (
                "pull_request_target",
                Some(pull_request(theirs, ours)),
                CodeOrigin::Fork(Some("mallory/octo-repo".to_owned())),
            ),
            // A renamed repository keeps its number, and another repository can then get its old name.
            (
                "pull_request",
                Some(pull_request(renamed, ours)),
                CodeOrigin::SameRepository,
            ),
            (
                "pull_request",
                Some(pull_request(namesake, ours)),
                CodeOrigin::Fork(Some("octo-org/octo-repo".to_owned())),
            ),
            ("pull_request", Some(pull_request("null", ours)), CodeOrigin::Fork(None)),
            ("pull_request", Some(pull_request(ours, "null")), CodeOrigin::Unknown),
            (
                "pull_request",
                Some(r#"{"pull_request":{}}"#.to_owned()),
                CodeOrigin::Unknown,
            ),
            ("pull_request", Some("{}".to_owned()), CodeOrigin::Unknown),
            ("pull_request", Some("no JSON".to_owned()), CodeOrigin::Unknown),
            ("pull_request_review", None, CodeOrigin::Unknown),
            ("", None, CodeOrigin::Unknown),
            // After a fork's pull request, `workflow_run` runs on the default branch and may use artifacts of the fork's workflow.
            (
                "workflow_run",
                Some(format!(
                    r#"{{"workflow_run":{{"head_repository":{theirs}}},"repository":{ours}}}"#
                )),
                CodeOrigin::Fork(Some("mallory/octo-repo".to_owned())),
            ),
            (
                "workflow_run",
                Some(format!(
                    r#"{{"workflow_run":{{"head_repository":{ours}}},"repository":{ours}}}"#
                )),
                CodeOrigin::SameRepository,
            ),
            (
                "workflow_run",
                Some(format!(
                    r#"{{"workflow_run":{{"head_repository":null}},"repository":{ours}}}"#
                )),
                CodeOrigin::Fork(None),
            ),
            ("workflow_run", None, CodeOrigin::Unknown),
        ] {
            assert_eq!(origin(event, payload.as_deref()), expected, "{event} {payload:?}");
        }
    }

    #[test]
    fn a_fact_that_the_runner_does_not_set_is_empty_and_its_ref_is_not_protected() {
        let facts = JobFacts::read(|name| (name == "GITHUB_REPOSITORY").then(|| "a/b".to_owned()), None);
        assert_eq!((facts.repository.as_str(), facts.event.as_str()), ("a/b", ""));
        assert!(!facts.ref_protected);
        let facts = JobFacts::read(|name| (name == "GITHUB_REF_PROTECTED").then(|| "true".to_owned()), None);
        assert!(facts.ref_protected);
    }

    #[test]
    fn ids_of_the_token_that_are_not_the_runner_s_are_refused() {
        let facts = |repository: &str, owner: &str| {
            JobFacts::read(
                |name| match name {
                    REPOSITORY_ID_ENV => Some(repository.to_owned()),
                    OWNER_ID_ENV => Some(owner.to_owned()),
                    _ => None,
                },
                None,
            )
        };
        for (repository, owner, claims, other) in [
            ("2", "1", [Some("2"), Some("1")], None),
            ("2", "1", [None, None], None),
            ("", "", [Some("2"), Some("1")], None),
            (
                "2",
                "1",
                [Some("3"), Some("1")],
                Some("the repository_id \"3\", and the runner's GITHUB_REPOSITORY_ID is \"2\""),
            ),
            ("2", "1", [Some("2"), Some("2")], Some("the repository_owner_id \"2\"")),
            ("", "1", [Some("2"), Some("")], Some("the repository_owner_id \"\"")),
        ] {
            let checked = facts(repository, owner).check_ids(|claim| {
                let index = usize::from(claim == "repository_owner_id");
                claims[index].map(str::to_owned)
            });
            match (checked, other) {
                (Ok(()), None) => {}
                (Err(error), Some(text)) => assert!(error.to_string().contains(text), "{error}"),
                (checked, _) => panic!("{repository} {owner} {claims:?}: {checked:?}"),
            }
        }
    }
}
