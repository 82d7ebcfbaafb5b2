//! Names in Vault: paths of the API, and roles.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Invalid, checked_text, invalid};
use crate::text::is_printable;

/// The longest path and the longest role, in bytes.
pub(super) const MAX_PATH_BYTES: usize = 1024;
const MAX_ROLE_BYTES: usize = 256;

/// A path of the HTTP API below `/v1/`, such as `arc-runners/data/kubeconfig/rancher-cluster`; also the mount of an auth method,
/// and a namespace. The segments have printable characters. Vault decodes a path once, and URL libraries normalise `..`:
/// therefore `.`, `..`, empty segments, `%`, `?`, `#` and backslash are not allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiPath(String);

checked_text!(ApiPath);

impl ApiPath {
    /// The path as written, without a slash at either end.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments. No segment is empty.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// A path that podkey made from names of a job, such as its branch. A `%` in the path is a character of the secret's name, and is
    /// `%25` in the request. Authors may not write `%` in a path, because they would mean an escape.
    #[cfg(feature = "agent")]
    pub(crate) fn with_literal_percent(text: String) -> Result<Self, Invalid> {
        text.replace('%', "_").parse::<Self>()?;
        Ok(Self(text))
    }
}

impl AsRef<Self> for ApiPath {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl FromStr for ApiPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("is empty");
        }
        if text.len() > MAX_PATH_BYTES {
            return invalid(format!("is longer than {MAX_PATH_BYTES} bytes"));
        }
        for segment in text.split('/') {
            match segment {
                "" => {
                    return invalid(
                        "has an empty segment: no slash at the start or the end, and no two slashes together",
                    );
                }
                "." | ".." => return invalid("has a segment . or .."),
                _ => {}
            }
        }
        match text
            .chars()
            .find(|c| matches!(c, '%' | '?' | '#' | '\\') || !is_printable(*c))
        {
            Some(c) => invalid(format!("has the character {c:?}, which no path may have")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for ApiPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Vault role: printable text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role(String);

checked_text!(Role);

impl Role {
    /// The role as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Role {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("is empty");
        }
        if text.len() > MAX_ROLE_BYTES {
            return invalid(format!("is longer than {MAX_ROLE_BYTES} bytes"));
        }
        match text.chars().find(|c| !is_printable(*c)) {
            Some(c) => invalid(format!("has the character {c:?}, which no role may have")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: FromStr<Err = Invalid> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().expect_err(text).to_string()
    }

    #[test]
    fn api_paths_are_segments_of_printable_characters() {
        for good in [
            "a",
            "arc-runners/data/kubeconfig/rancher-cluster",
            "my-cluster/arc-runners",
            "kv/data/ä b",
            "a/...",
            "a/$(X)",
        ] {
            assert_eq!(good.parse::<ApiPath>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", "is empty"),
            ("/a", "empty segment"),
            ("a/", "empty segment"),
            ("a//b", "empty segment"),
            ("secret/data/../../sys/mounts", ". or .."),
            ("a/./b", ". or .."),
            ("a/%2e%2e/b", "'%'"),
            ("a?list=true", "'?'"),
            ("a#b", "'#'"),
            ("a\\b", "'\\\\'"),
            ("a\nb", "'\\n'"),
            ("a\u{202e}b", "202e"),
        ] {
            assert!(
                error::<ApiPath>(bad).contains(why),
                "{bad:?}: {}",
                error::<ApiPath>(bad)
            );
        }
    }
}
