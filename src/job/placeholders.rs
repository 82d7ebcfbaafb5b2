//! Fills in the placeholders in the paths that a job reads itself, with facts of the runner and a claim of GitHub's token. A value
//! cannot leave its segment of the path, whoever chose the value.
//!
//! A branch may have the name `../../admin` or `a/b`. Percent-encoding alone is no protection, because Vault decodes a path once.
//! So every byte other than a letter, digit, `.`, `_` or `-` becomes `%XX`, three characters of the secret's name: the branch
//! `feature/x` reads the secret `feature%2Fx` (`vault kv put ci/feature%252Fx`; the API path on the wire has `%252F`).
//! `{repository}` is two segments. Nothing is replaced in them, because GitHub's names have only these characters.

use crate::plan::{ApiPath, GitHubId, Invalid, PathPiece, PathTemplate, Placeholder};
use crate::text::quoted;

use super::facts::JobFacts;

/// Why the placeholders of a path cannot be filled in, so that the job fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceholderError {
    /// The job has no value for this placeholder.
    #[error("{{{0}}} in a path: the job has no such value")]
    Missing(Placeholder),
    /// The job has no environment.
    #[error(
        "{{environment}} in a path: the job has no environment. Write \"environment: NAME\" into the job, in the workflow"
    )]
    NoEnvironment,
    /// The value is `.` or `..`, a repository that is not two names, or an id that is not a number.
    #[error("{{{0}}} in a path: {1} cannot stand in a path")]
    Unfit(Placeholder, String),
    /// The filled-in text is not a valid path.
    #[error("the path {0} {1}")]
    Path(String, Invalid),
    /// The filled-in path is an endpoint that answers with tokens.
    #[error("the path {0} is about tokens, not a secret")]
    Tokens(String),
}

/// Fills in the placeholders of a path. `environment` is a claim of GitHub's token, the only source of this fact.
pub(crate) fn fill(
    path: &PathTemplate,
    facts: &JobFacts,
    environment: Option<&str>,
) -> Result<ApiPath, PlaceholderError> {
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
                let (owner, name) = repository(placeholder, facts)?;
                filled.push_str(owner);
                filled.push('/');
                filled.push_str(name);
            }
            Placeholder::Owner => filled.push_str(repository(placeholder, facts)?.0),
            Placeholder::RepositoryId => filled.push_str(id(placeholder, &facts.repository_id)?),
            Placeholder::OwnerId => filled.push_str(id(placeholder, &facts.owner_id)?),
            Placeholder::RefName => push(placeholder, &facts.ref_name, &mut filled)?,
            Placeholder::Job => push(placeholder, &facts.job, &mut filled)?,
            Placeholder::Environment => match environment {
                None | Some("") => return Err(PlaceholderError::NoEnvironment),
                Some(environment) => push(placeholder, environment, &mut filled)?,
            },
        }
    }
    match ApiPath::with_literal_percent(filled.clone()) {
        // The webhook has checked the path without the name of the job or branch, which can make the path another endpoint.
        Ok(path) if path.holds_tokens() => Err(PlaceholderError::Tokens(quoted(&filled))),
        Ok(path) => Ok(path),
        Err(why) => Err(PlaceholderError::Path(quoted(&filled), why)),
    }
}

/// The characters of a value that become `%XX`: all but those of GitHub's own names, see [`is_unreserved`].
const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'_')
    .remove(b'-');

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

fn is_dots(text: &str) -> bool {
    matches!(text, "." | "..")
}

/// The owner and the name of the job's repository.
fn repository(asked: Placeholder, facts: &JobFacts) -> Result<(&str, &str), PlaceholderError> {
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

/// An id, which is digits alone.
fn id(asked: Placeholder, value: &str) -> Result<&str, PlaceholderError> {
    match value.parse::<GitHubId>() {
        Ok(_) => Ok(value),
        Err(_) if value.is_empty() => Err(PlaceholderError::Missing(asked)),
        Err(_) => Err(PlaceholderError::Unfit(asked, quoted(value))),
    }
}

fn push(asked: Placeholder, value: &str, filled: &mut String) -> Result<(), PlaceholderError> {
    if value.is_empty() {
        return Err(PlaceholderError::Missing(asked));
    }
    if is_dots(value) {
        return Err(PlaceholderError::Unfit(asked, quoted(value)));
    }
    filled.extend(percent_encoding::utf8_percent_encode(value, ESCAPED));
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::facts::CodeOrigin;

    fn facts(repository: &str, ref_name: &str, job: &str) -> JobFacts {
        JobFacts {
            repository: repository.to_owned(),
            repository_id: "456789".to_owned(),
            owner_id: "123456".to_owned(),
            event: "push".to_owned(),
            full_ref: format!("refs/heads/{ref_name}"),
            ref_name: ref_name.to_owned(),
            ref_protected: true,
            job: job.to_owned(),
            run_id: "1".to_owned(),
            run_attempt: "1".to_owned(),
            origin: CodeOrigin::Own,
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
            ("ci/data/{repository_id}/{owner_id}-x", "ci/data/456789/123456-x"),
            ("ci/data/{environment}", "ci/data/prod%20eu%25%C3%A4"),
        ] {
            assert_eq!(filled(path, &job, Some("prod eu%ä")).unwrap(), expected);
        }
    }

    #[test]
    fn a_value_that_cannot_stand_in_a_path_fails_the_job() {
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
                "\"..\" cannot stand in a path",
            ),
            (
                "a/{ref_name}",
                facts("o/r", "", "b"),
                None,
                "{ref_name} in a path: the job has no such value",
            ),
            (
                "a/{ref_name}",
                facts("o/r", ".", "b"),
                None,
                "\".\" cannot stand in a path",
            ),
            ("a/{job}", facts("o/r", "m", ".."), None, "{job} in a path: \"..\""),
            (
                "a/{owner}",
                facts("", "m", "b"),
                None,
                "{owner} in a path: the job has no such value",
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

    #[test]
    fn an_id_that_is_missing_or_not_a_number_fails_the_job() {
        for (bad, expected) in [
            ("", "no such value"),
            ("1/2", "cannot stand"),
            ("..", "cannot stand"),
            ("00", "cannot stand"),
        ] {
            let job = JobFacts {
                repository_id: bad.to_owned(),
                ..facts("o/r", "m", "b")
            };
            let error = filled("a/{repository_id}", &job, None).unwrap_err();
            assert!(
                error.contains("{repository_id} in a path") && error.contains(expected),
                "{error}"
            );
            let job = JobFacts {
                owner_id: bad.to_owned(),
                ..facts("o/r", "m", "b")
            };
            let error = filled("a/{owner_id}", &job, None).unwrap_err();
            assert!(
                error.contains("{owner_id} in a path") && error.contains(expected),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_value_leaves_its_segment_and_no_two_values_make_one_path(a in ".{1,20}", b in ".{1,20}") {
            let of = |value: &str| filled("ci/data/{ref_name}/x", &facts("o/r", value, "b"), None);
            if let (Ok(filled_a), Ok(filled_b)) = (of(&a), of(&b)) {
                prop_assert_eq!(filled_a.split('/').count(), 4);
                prop_assert_eq!(filled_a == filled_b, a == b);
            }
        }
    }
}
