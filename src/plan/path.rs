//! Names in Vault: paths of the API, and roles.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Invalid, checked_text, invalid};
use crate::text::is_printable;

/// The segment behind the mount of KV v2 that reads the data of a secret.
const KV_V2_DATA: &str = "data";

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

    /// The paths that the agent may read after it has looked up the mount (`MountLookup`): the path as written, and the paths
    /// with `data` behind each possible mount of KV v2. Where consul-template leaves a path as it is (`data`, `metadata` or `subkeys`
    /// behind the mount), there is no form.
    /// <https://github.com/hashicorp/consul-template/blob/main/dependency/vault_read.go> (`shimKVv2Path`)
    pub fn forms(&self) -> Vec<Self> {
        let ends = self.0.match_indices('/').map(|(at, _)| at).chain([self.0.len()]);
        let inserted = ends.filter_map(|end| self.with_data_behind(end));
        // A longer path is in no plan.
        let inserted = inserted.filter(|form| form.0.len() <= MAX_PATH_BYTES);
        let mut forms: Vec<_> = std::iter::once(self.clone()).chain(inserted).collect();
        // `kv/data` has `data` twice, whatever the mount is.
        forms.dedup();
        forms
    }

    /// The path with `data` behind the mount that ends at byte `end`. None: consul-template leaves the path as it is.
    pub(crate) fn with_data_behind(&self, end: usize) -> Option<Self> {
        const LEFT: [&str; 3] = ["/data/", "/metadata/", "/subkeys/"];
        let (mount, rest) = self.0.split_at_checked(end)?;
        let is_left = LEFT.iter().any(|left| rest.starts_with(left));
        (!is_left).then(|| Self(format!("{mount}/{KV_V2_DATA}{rest}")))
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
    fn the_forms_of_a_path_have_data_behind_each_possible_mount() {
        let forms = |text: &str| -> Vec<String> {
            let path: ApiPath = text.parse().unwrap();
            path.forms().iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            forms("team/kv/app"),
            [
                "team/kv/app",
                "team/data/kv/app",
                "team/kv/data/app",
                "team/kv/app/data"
            ]
        );
        assert_eq!(forms("kv"), ["kv", "kv/data"]);
        assert_eq!(
            forms("kv/data/app"),
            ["kv/data/app", "kv/data/data/app", "kv/data/app/data"]
        );
        assert_eq!(
            forms("kv/metadata/app"),
            ["kv/metadata/app", "kv/metadata/data/app", "kv/metadata/app/data"]
        );
        // `kv/data` is the secret "data" of the mount `kv`.
        assert_eq!(forms("kv/data"), ["kv/data", "kv/data/data"]);
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
