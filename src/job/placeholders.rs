//! The paths of what a job reads for itself, filled in from what the runner, or GitHub's token, says of it. A value stays
//! in its segment of the path, whoever chose it.
//!
//! A branch may be called `../../admin` or `a/b`. Percent-encoding alone confines nothing, because Vault decodes a path once;
//! so a byte that is no letter, digit, `.`, `_` or `-` becomes `%XX`, three characters of the secret's own name: the branch
//! `feature/x` reads the secret `feature%2Fx` (`vault kv put ci/feature%252Fx`; the API path on the wire has `%252F`).
//! `{repository}` is two such segments, in which nothing is replaced: GitHub's names have no other characters.

use crate::plan::{ApiPath, Invalid, PathPiece, PathTemplate, Placeholder};
use crate::text::quoted;

use super::facts::JobFacts;

/// Why a path cannot be filled in: the job fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    /// The job has no such thing.
    #[error("{{{0}}} in a path: the job has none")]
    Missing(&'static str),
    /// The job is in no environment.
    #[error(
        "{{environment}} in a path: the job has no environment. Write \"environment: NAME\" into the job, in the workflow"
    )]
    NoEnvironment,
    /// The value is `.` or `..`, or for a repository anything but two names.
    #[error("{{{0}}} in a path: {1} cannot stand in one")]
    Unfit(&'static str, String),
    /// What comes of it is no path.
    #[error("the path {0} {1}")]
    Path(String, Invalid),
    /// What comes of it is an endpoint that answers with tokens.
    #[error("the path {0} is about tokens, not a secret")]
    Tokens(String),
}

/// Fills in a path. `environment` is the claim of GitHub's token, the only place that tells it.
pub fn fill(path: &PathTemplate, facts: &JobFacts, environment: Option<&str>) -> Result<ApiPath, PlaceholderError> {
    let mut filled = String::with_capacity(path.as_path().as_str().len() + 64);
    for piece in path.pieces() {
        let placeholder = match piece {
            PathPiece::Text(text) => {
                filled.push_str(text);
                continue;
            }
            PathPiece::Placeholder(placeholder) => placeholder,
        };
        match placeholder {
            Placeholder::Repository => {
                let (owner, name) = repository("repository", facts)?;
                filled.push_str(owner);
                filled.push('/');
                filled.push_str(name);
            }
            Placeholder::Owner => filled.push_str(repository("owner", facts)?.0),
            Placeholder::RefName => push("ref_name", &facts.ref_name, &mut filled)?,
            Placeholder::Job => push("job", &facts.job, &mut filled)?,
            Placeholder::Environment => match environment {
                None | Some("") => return Err(PlaceholderError::NoEnvironment),
                Some(environment) => push("environment", environment, &mut filled)?,
            },
        }
    }
    match ApiPath::with_literal_percent(filled.clone()) {
        // A job's name or a branch's could complete a path that the webhook has seen without it.
        Ok(path) if path.holds_tokens() => Err(PlaceholderError::Tokens(quoted(&filled))),
        Ok(path) => Ok(path),
        Err(why) => Err(PlaceholderError::Path(quoted(&filled), why)),
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

fn is_dots(text: &str) -> bool {
    matches!(text, "." | "..")
}

/// The owner and the name of the job's repository.
fn repository<'a>(asked: &'static str, facts: &'a JobFacts) -> Result<(&'a str, &'a str), PlaceholderError> {
    let whole = facts.repository.as_str();
    if whole.is_empty() {
        return Err(PlaceholderError::Missing(asked));
    }
    let is_name = |name: &str| !name.is_empty() && !is_dots(name) && name.bytes().all(is_unreserved);
    match whole.split_once('/') {
        Some((owner, name)) if is_name(owner) && is_name(name) => Ok((owner, name)),
        _ => Err(PlaceholderError::Unfit(asked, quoted(whole))),
    }
}

fn push(asked: &'static str, value: &str, filled: &mut String) -> Result<(), PlaceholderError> {
    if value.is_empty() {
        return Err(PlaceholderError::Missing(asked));
    }
    if is_dots(value) {
        return Err(PlaceholderError::Unfit(asked, quoted(value)));
    }
    for byte in value.bytes() {
        if is_unreserved(byte) {
            filled.push(char::from(byte));
        } else {
            filled.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::facts::Head;

    fn facts(repository: &str, ref_name: &str, job: &str) -> JobFacts {
        JobFacts {
            repository: repository.to_owned(),
            event: "push".to_owned(),
            full_ref: format!("refs/heads/{ref_name}"),
            ref_name: ref_name.to_owned(),
            ref_protected: true,
            job: job.to_owned(),
            run_id: "1".to_owned(),
            run_attempt: "1".to_owned(),
            head: Head::Own,
        }
    }

    fn filled(path: &str, facts: &JobFacts, environment: Option<&str>) -> Result<String, String> {
        let path = path.parse().unwrap();
        fill(&path, facts, environment)
            .map(|path| path.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_placeholder_stays_in_its_segment() {
        let job = facts("octo-org/octo.repo_1", "feature/x", "build");
        for (path, expected) in [
            ("ci/data/app", "ci/data/app"),
            ("ci/data/{repository}/deploy", "ci/data/octo-org/octo.repo_1/deploy"),
            ("ci/data/{owner}", "ci/data/octo-org"),
            ("ci/data/{ref_name}/{job}", "ci/data/feature%2Fx/build"),
            ("ci/data/{owner}-{job}-x", "ci/data/octo-org-build-x"),
            ("ci/data/{environment}", "ci/data/prod%20eu%25%C3%A4"),
        ] {
            assert_eq!(filled(path, &job, Some("prod eu%ä")).unwrap(), expected);
        }
    }

    #[test]
    fn what_cannot_stand_in_a_path_fails_the_job() {
        for (path, facts, environment, expected) in [
            (
                "a/{environment}",
                facts("o/r", "m", "b"),
                None,
                "Write \"environment: NAME\"",
            ),
            ("a/{environment}", facts("o/r", "m", "b"), Some(""), "no environment"),
            (
                "a/{environment}",
                facts("o/r", "m", "b"),
                Some(".."),
                "\"..\" cannot stand in one",
            ),
            (
                "a/{ref_name}",
                facts("o/r", "", "b"),
                None,
                "{ref_name} in a path: the job has none",
            ),
            (
                "a/{ref_name}",
                facts("o/r", ".", "b"),
                None,
                "\".\" cannot stand in one",
            ),
            ("a/{job}", facts("o/r", "m", ".."), None, "{job} in a path: \"..\""),
            (
                "a/{owner}",
                facts("", "m", "b"),
                None,
                "{owner} in a path: the job has none",
            ),
            ("a/{repository}", facts("o", "m", "b"), None, "\"o\" cannot stand"),
            (
                "a/{repository}",
                facts("o/r/x", "m", "b"),
                None,
                "\"o/r/x\" cannot stand",
            ),
            ("a/{repository}", facts("o/..", "m", "b"), None, "\"o/..\" cannot stand"),
            ("a/{repository}", facts("o/r%2f", "m", "b"), None, "cannot stand"),
            ("a/{owner}", facts("/r", "m", "b"), None, "cannot stand"),
            (
                "{job}/token/{ref_name}",
                facts("o/r", "lookup-self", "auth"),
                None,
                "\"auth/token/lookup-self\" is about tokens",
            ),
            (
                "ns/auth/token/{ref_name}",
                facts("o/r", "create", "b"),
                None,
                "is about tokens",
            ),
            (
                "a/{job}",
                facts("o/r", "m", &"x".repeat(2000)),
                None,
                "longer than 1024",
            ),
        ] {
            let error = filled(path, &facts, environment).unwrap_err();
            assert!(error.contains(expected), "{path}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_value_leaves_its_segment_or_meets_another(a in ".{1,20}", b in ".{1,20}") {
            let of = |value: &str| filled("ci/data/{ref_name}/x", &facts("o/r", value, "b"), None);
            if let (Ok(filled_a), Ok(filled_b)) = (of(&a), of(&b)) {
                prop_assert_eq!(filled_a.split('/').count(), 4);
                prop_assert_eq!(filled_a == filled_b, a == b);
            }
        }
    }
}
