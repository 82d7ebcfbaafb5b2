//! What a missing field does.

use serde::{Deserialize, Serialize};

/// What happens where a template uses a field that the secret does not have, or prints a null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingField {
    /// A missing field is an error, and so is printing a value that is missing or null. podkey's own annotations.
    #[default]
    Fail,
    /// A missing field is an error; a null prints `<no value>`. consul-template's `error_on_missing_key`.
    FailField,
    /// Both print `<no value>`. consul-template's default.
    Print,
}

impl MissingField {
    pub(crate) fn is_fail(&self) -> bool {
        *self == Self::Fail
    }
}
