//! What the runner tells its hooks of the job: variables, and the event's payload. The runner sets them itself before any
//! code of the job runs; what the workflow's `env:` says does not reach a hook.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>

use serde::Deserialize;

/// The job, as far as anything depends on it. Texts are empty where the runner did not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFacts {
    /// `GITHUB_REPOSITORY`, such as `octo-org/octo-repo`. In a pull request: the base's.
    pub repository: String,
    /// `GITHUB_EVENT_NAME`, such as `push`.
    pub event: String,
    /// `GITHUB_REF`, such as `refs/heads/main`.
    pub full_ref: String,
    /// `GITHUB_REF_NAME`, such as `main`, or `7/merge` in a pull request.
    pub ref_name: String,
    /// `GITHUB_REF_PROTECTED`: branch protection or a ruleset holds for the ref.
    pub ref_protected: bool,
    /// `GITHUB_JOB`, the key of the job in its workflow.
    pub job: String,
    /// `GITHUB_RUN_ID`.
    pub run_id: String,
    /// `GITHUB_RUN_ATTEMPT`.
    pub run_attempt: String,
    /// Where the code of a pull request comes from.
    pub head: Head,
}

/// Where the code that a job is about comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// The event is about no pull request.
    Own,
    /// A pull request within the repository.
    SameRepository,
    /// A pull request from another repository; none where that one is gone.
    Fork(Option<String>),
    /// A pull request, and its payload does not say from where.
    Unknown,
}

impl JobFacts {
    /// From the hook's environment, and the text of the file that `GITHUB_EVENT_PATH` names.
    pub fn read(variable: impl Fn(&str) -> Option<String>, event_payload: Option<&str>) -> Self {
        let text = |name: &str| variable(name).unwrap_or_default();
        let event = text("GITHUB_EVENT_NAME");
        Self {
            head: head(&event, event_payload),
            repository: text("GITHUB_REPOSITORY"),
            full_ref: text("GITHUB_REF"),
            ref_name: text("GITHUB_REF_NAME"),
            ref_protected: text("GITHUB_REF_PROTECTED") == "true",
            job: text("GITHUB_JOB"),
            run_id: text("GITHUB_RUN_ID"),
            run_attempt: text("GITHUB_RUN_ATTEMPT"),
            event,
        }
    }
}

/// The events of pull requests have the whole of one in their payload: `pull_request`, `pull_request_target`,
/// `pull_request_review`, `pull_request_review_comment`. `workflow_run` has the repository whose commit the other workflow
/// ran on, which is a fork's after a pull request of one.
#[derive(Deserialize)]
struct Payload {
    pull_request: Option<PullRequest>,
    workflow_run: Option<WorkflowRun>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct WorkflowRun {
    /// Null where the repository was deleted.
    head_repository: Option<Repository>,
}

#[derive(Deserialize)]
struct PullRequest {
    head: Option<Side>,
    base: Option<Side>,
}

#[derive(Deserialize)]
struct Side {
    /// Null where the repository was deleted.
    repo: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    id: u64,
    full_name: String,
}

fn head(event: &str, payload: Option<&str>) -> Head {
    // A job without an event is none of GitHub's.
    let may_be_a_forks = event.is_empty() || event.starts_with("pull_request") || event == "workflow_run";
    let Some(payload) = payload.and_then(|json| serde_json::from_str::<Payload>(json).ok()) else {
        return if may_be_a_forks { Head::Unknown } else { Head::Own };
    };
    let (head, base) = match (payload.pull_request, payload.workflow_run) {
        (
            Some(PullRequest {
                head: Some(head),
                base: Some(base),
            }),
            _,
        ) => (head.repo, base.repo),
        (Some(_), _) => return Head::Unknown,
        (None, Some(run)) => (run.head_repository, payload.repository),
        (None, None) if may_be_a_forks => return Head::Unknown,
        (None, None) => return Head::Own,
    };
    match (head, base) {
        (_, None) => Head::Unknown,
        (None, _) => Head::Fork(None),
        (Some(head), Some(base)) if head.id == base.id => Head::SameRepository,
        (Some(head), _) => Head::Fork(Some(head.full_name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_told_by_the_repository_of_the_pull_request_s_head() {
        let pull_request = |head: &str, base: &str| {
            format!(r#"{{"action":"opened","pull_request":{{"head":{{"repo":{head}}},"base":{{"repo":{base}}}}}}}"#)
        };
        let ours = r#"{"id":1,"full_name":"octo-org/octo-repo","fork":false}"#;
        let theirs = r#"{"id":2,"full_name":"mallory/octo-repo","fork":true}"#;
        let renamed = r#"{"id":1,"full_name":"octo-org/old-name"}"#;
        let namesake = r#"{"id":2,"full_name":"octo-org/octo-repo"}"#;
        for (event, payload, expected) in [
            ("push", Some(r#"{"ref":"refs/heads/main"}"#.to_owned()), Head::Own),
            ("push", None, Head::Own),
            ("workflow_dispatch", Some("no JSON".to_owned()), Head::Own),
            ("pull_request", Some(pull_request(ours, ours)), Head::SameRepository),
            (
                "pull_request",
                Some(pull_request(theirs, ours)),
                Head::Fork(Some("mallory/octo-repo".to_owned())),
            ),
            (
                "pull_request_target",
                Some(pull_request(theirs, ours)),
                Head::Fork(Some("mallory/octo-repo".to_owned())),
            ),
            // A repository keeps its number when it is renamed, and another can then have its name.
            ("pull_request", Some(pull_request(renamed, ours)), Head::SameRepository),
            (
                "pull_request",
                Some(pull_request(namesake, ours)),
                Head::Fork(Some("octo-org/octo-repo".to_owned())),
            ),
            ("pull_request", Some(pull_request("null", ours)), Head::Fork(None)),
            ("pull_request", Some(pull_request(ours, "null")), Head::Unknown),
            ("pull_request", Some(r#"{"pull_request":{}}"#.to_owned()), Head::Unknown),
            ("pull_request", Some("{}".to_owned()), Head::Unknown),
            ("pull_request", Some("no JSON".to_owned()), Head::Unknown),
            ("pull_request_review", None, Head::Unknown),
            ("", None, Head::Unknown),
            // After a fork's pull request it runs on the default branch, and may use what that one left.
            (
                "workflow_run",
                Some(format!(
                    r#"{{"workflow_run":{{"head_repository":{theirs}}},"repository":{ours}}}"#
                )),
                Head::Fork(Some("mallory/octo-repo".to_owned())),
            ),
            (
                "workflow_run",
                Some(format!(
                    r#"{{"workflow_run":{{"head_repository":{ours}}},"repository":{ours}}}"#
                )),
                Head::SameRepository,
            ),
            (
                "workflow_run",
                Some(format!(
                    r#"{{"workflow_run":{{"head_repository":null}},"repository":{ours}}}"#
                )),
                Head::Fork(None),
            ),
            ("workflow_run", None, Head::Unknown),
        ] {
            assert_eq!(head(event, payload.as_deref()), expected, "{event} {payload:?}");
        }
    }

    #[test]
    fn what_the_runner_does_not_say_is_empty_and_not_protected() {
        let facts = JobFacts::read(|name| (name == "GITHUB_REPOSITORY").then(|| "a/b".to_owned()), None);
        assert_eq!((facts.repository.as_str(), facts.event.as_str()), ("a/b", ""));
        assert!(!facts.ref_protected);
        let facts = JobFacts::read(|name| (name == "GITHUB_REF_PROTECTED").then(|| "true".to_owned()), None);
        assert!(facts.ref_protected);
    }
}
