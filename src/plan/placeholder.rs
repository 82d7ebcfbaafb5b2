//! API paths with placeholders, which the started hook fills in with facts about the job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ApiPath, Invalid, checked_text, invalid, words::words};

words! {
    /// A placeholder in a path that the job reads, written in braces.
    pub(crate) enum Placeholder {
        /// The repository of the job, such as `octo-org/octo-repo`: two segments of the path.
        Repository = "repository",
        /// The id of the repository, such as `456789`. A new repository with an old name has another id.
        RepositoryId = "repository_id",
        /// The owner of the repository, such as `octo-org`.
        Owner = "owner",
        /// The id of the owner, such as `123456`.
        OwnerId = "owner_id",
        /// The branch or the tag, such as `main` or `feature/x`: always one segment of the path.
        RefName = "ref_name",
        /// The key of the job in its workflow.
        Job = "job",
        /// The environment of the job, which only GitHub's OIDC token names.
        Environment = "environment",
    }
}

impl Placeholder {
    /// The placeholder as written in a path: `{job}`.
    pub(crate) fn written(self) -> String {
        format!("{{{self}}}")
    }

    /// All placeholders as written, with commas, and with `last` before the last one.
    pub(crate) fn written_list(last: &str) -> String {
        let written: Vec<_> = Self::NAMES.iter().map(|name| format!("{{{name}}}")).collect();
        match written.split_last() {
            Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
            None => String::new(),
        }
    }
}

/// An API path with any number of placeholders in it. A brace always belongs to a placeholder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathTemplate(ApiPath);

checked_text!(PathTemplate);

impl ApiPath {
    /// Whether the path has a placeholder.
    #[cfg(feature = "webhook")]
    pub(crate) fn has_placeholder(&self) -> bool {
        pieces(self.as_str()).any(|piece| matches!(piece, Ok(PathPiece::Placeholder(_))))
    }
}

impl AsRef<ApiPath> for PathTemplate {
    fn as_ref(&self) -> &ApiPath {
        &self.0
    }
}

/// A part of a [`PathTemplate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathPiece<'a> {
    /// Text as written. May contain slashes.
    Text(&'a str),
    /// A placeholder to fill in.
    Placeholder(Placeholder),
}

impl PathTemplate {
    /// The path as written, with its placeholders.
    pub(crate) fn as_path(&self) -> &ApiPath {
        &self.0
    }

    /// Texts and placeholders, in their order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = PathPiece<'_>> {
        pieces(self.0.as_str()).filter_map(Result::ok)
    }
}

/// The pieces of a text. An error is a text between two braces that is not a placeholder, or the text at a brace without
/// its counterpart.
fn pieces(text: &str) -> impl Iterator<Item = Result<PathPiece<'_>, &str>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(after) = rest.strip_prefix('{') {
            let (name, behind) = after.split_once('}').unwrap_or((after, ""));
            rest = behind;
            return Some(name.parse().map(PathPiece::Placeholder).map_err(|_| name));
        }
        let (text, behind) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
        rest = behind;
        Some(if text.contains('}') {
            Err(text)
        } else {
            Ok(PathPiece::Text(text))
        })
    })
}

impl FromStr for PathTemplate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let path: ApiPath = text.parse()?;
        // Some texts have equal pieces and unequal braces: `a{job` and `a}`.
        if text.matches('{').count() != text.matches('}').count() || pieces(text).any(|piece| piece.is_err()) {
            let known = Placeholder::written_list("and");
            return invalid(format!("has a brace that belongs to none of {known}"));
        }
        let repository = Placeholder::Repository.written();
        if path
            .segments()
            .any(|segment| segment.contains(&repository) && segment != repository)
        {
            return invalid(format!(
                "has {repository}, which is two segments, inside one segment: write {repository} between slashes"
            ));
        }
        Ok(Self(path))
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brace_in_a_path_belongs_to_a_placeholder() {
        use PathPiece::{Placeholder as P, Text as T};
        let pieces = |text: &str| {
            format!(
                "{:?}",
                text.parse::<PathTemplate>().unwrap().pieces().collect::<Vec<_>>()
            )
        };
        for (text, expected) in [
            ("a/b", vec![T("a/b")]),
            (
                "ci/data/{repository}/x",
                vec![T("ci/data/"), P(Placeholder::Repository), T("/x")],
            ),
            (
                "{owner}-{job}/{ref_name}",
                vec![
                    P(Placeholder::Owner),
                    T("-"),
                    P(Placeholder::Job),
                    T("/"),
                    P(Placeholder::RefName),
                ],
            ),
            (
                "a/{repository_id}-{owner_id}",
                vec![T("a/"), P(Placeholder::RepositoryId), T("-"), P(Placeholder::OwnerId)],
            ),
            ("a/{environment}", vec![T("a/"), P(Placeholder::Environment)]),
        ] {
            assert_eq!(pieces(text), format!("{expected:?}"), "{text}");
        }
        for (bad, why) in [
            ("a/{repo}", "belongs to none of {repository}"),
            ("a/{job", "belongs to none"),
            ("a/job}", "belongs to none"),
            ("a/}{", "belongs to none"),
            ("a/{{job}}", "belongs to none"),
            ("a/{}", "belongs to none"),
            ("a/{repository}-x", "between slashes"),
            ("a//{job}", "empty segment"),
            ("a/%7Bjob}", "'%'"),
        ] {
            let error = bad.parse::<PathTemplate>().expect_err(bad).to_string();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
    }
}
