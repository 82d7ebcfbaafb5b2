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
/// `pull_request_review`, `pull_request_review_comment`.
#[derive(Deserialize)]
struct Payload {
    pull_request: Option<PullRequest>,
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
    let about_pull_request = event.starts_with("pull_request");
    let pull_request = payload
        .and_then(|json| serde_json::from_str::<Payload>(json).ok())
        .and_then(|payload| payload.pull_request);
    let (head, base) = match pull_request {
        Some(PullRequest {
            head: Some(head),
            base: Some(base),
        }) => (head.repo, base.repo),
        Some(_) => return Head::Unknown,
        None if about_pull_request => return Head::Unknown,
        None => return Head::Own,
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
