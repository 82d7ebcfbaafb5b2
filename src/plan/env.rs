//! A secret whose values go into environment variables: the path to read, the values to select, and the names of the variables.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ApiPath, Invalid, checked_text, invalid};
use crate::text::{is_printable, is_runners, takes_over};

/// One entry of `podkey.dev/env`, in vault-action's grammar `path selector | NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvSecret<P = ApiPath> {
    /// The API path to read.
    pub secret: P,
    /// The version to read (KV v2). None: the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<std::num::NonZeroU64>,
    /// The part of the answer that becomes variables.
    pub select: Select,
}

/// The part of a secret that becomes variables. If the answer's data has a field `data` that is an object, the selection is
/// made inside that field (KV v2), as vault-action does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Select {
    /// One value.
    Value {
        /// The steps from the secret's data to the value, outermost first. No step (`$.$`): the data itself.
        at: Vec<ValueStep>,
        /// The name of the variable.
        name: EnvName,
    },
    /// `*`: every field. The variable's name is the prefix and the field, normalised, in upper case.
    UpperCase {
        /// The beginning of the names, not normalised yet.
        prefix: String,
    },
    /// `**`: every field. The variable's name is the prefix and the field, normalised, in the field's own case.
    KeepCase {
        /// The beginning of the names, not normalised yet.
        prefix: String,
    },
}

/// One step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ValueStep {
    /// To the member of an object.
    Key(String),
    /// To the element of an array, counted from 0; negative: counted from the end.
    Index(i32),
}

/// The name of a variable that a job gets. More names are valid than in a shell, as in vault-action: `1NUM` and `schlüssel`
/// are allowed, and so are names that a container's own `env` could not have. Names that take over a job are not allowed, and
/// names that no file can have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvName(String);

checked_text!(EnvName);

impl EnvName {
    /// The name as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a job must not set the variable, though a container may.
    pub(crate) fn is_the_runners(&self) -> bool {
        is_runners(&self.0)
    }
}

impl FromStr for EnvName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > 255 {
            return invalid("is not a name of 1 to 255 bytes");
        }
        if matches!(text, "." | "..") {
            return invalid("is not a name that a file can have");
        }
        // `=` and `<` end a name in GITHUB_ENV; ARC's kubernetes mode fails on quotes and `$`.
        if let Some(c) = text
            .chars()
            .find(|c| c.is_whitespace() || "=<$/\\\"'`".contains(*c) || !is_printable(*c))
        {
            return invalid(format!("has the character {c:?}, which no variable's name may have"));
        }
        if let Some(reason) = takes_over(text) {
            return invalid(reason.to_string());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_are_as_in_vault_action_and_never_take_over_a_job() {
        for good in ["KUBECONFIG_B64", "1NUM", "schlüssel", "a.b", "A-B", "密钥"] {
            assert_eq!(good.parse::<EnvName>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", "1 to 255"),
            (&"x".repeat(256), "1 to 255"),
            ("..", "a file"),
            ("A=B", "'='"),
            ("A<<B", "'<'"),
            ("A B", "' '"),
            ("A\nB", "'\\n'"),
            ("a/b", "'/'"),
            ("$A", "'$'"),
            ("NODE_OPTIONS", "decides what a program runs"),
            ("LD_PRELOAD", "decides what a program runs"),
            ("RUNNER_TEMP", "reserved"),
        ] {
            let error = bad.parse::<EnvName>().expect_err(bad).to_string();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
    }
}
