//! What is in a file: a secret, or a part of a secret, in some format; or a template of several secrets.

use serde::{Deserialize, Serialize};

use super::{ApiPath, Invalid, SecretRequest, TemplateContent, invalid, words::words};
use crate::text::is_printable;

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<P = ApiPath> {
    /// One secret.
    Secret(SecretContent<P>),
    /// Text around values of any number of secrets.
    Template(TemplateContent<P>),
}

/// One secret, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretContent<P = ApiPath> {
    /// Which secret.
    pub request: SecretRequest<P>,
    /// Which fields of the secret.
    pub part: Part,
    /// The encoding of the field's text, which is decoded before the file is written.
    pub decode: Decode,
    /// The format of the file.
    pub format: Format,
}

/// The part of a secret that a file contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Every field.
    Whole,
    /// One field.
    Key(String),
    /// Some fields, in this order.
    Keys(Keys),
}

/// Fields of a secret, each with the name that it has in the file. No name is there twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<NamedField>", into = "Vec<NamedField>")]
pub struct Keys(Vec<NamedField>);

/// A field of a secret, and its name in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedField {
    /// The name in the file.
    pub name: String,
    /// The field of the secret.
    pub field: String,
}

words! {
    /// The encoding of a field's text.
    pub enum Decode {
        /// The text is written as it is.
        None = "none",
        /// The text is decoded from base64 (RFC 4648 section 4). Line breaks and missing padding are accepted, as `base64`
        /// writes them.
        Base64 = "base64",
        /// The text is decoded from base64url (RFC 4648 section 5). Line breaks and missing padding are accepted.
        Base64url = "base64url",
        /// The text is decoded from hexadecimal digits (RFC 4648 section 8), in either case. Line breaks are accepted.
        Hex = "hex",
    }
    default None
}

impl Decode {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

words! {
    /// How a field or a whole secret is written into a file.
    pub enum Format {
        /// The field's bytes and nothing else.
        Raw = "raw",
        /// JSON, with numbers as the server wrote them.
        Json = "json",
        /// YAML 1.2, one line for each field.
        Yaml = "yaml",
        /// `NAME='value'` lines that `sh` reads.
        Dotenv = "dotenv",
        /// `export NAME='value'` lines that `sh` reads.
        Shell = "shell",
        /// Java properties.
        Properties = "properties",
    }
}

impl Format {
    /// Whether the names in the file are names of variables.
    pub(crate) fn names_variables(self) -> bool {
        matches!(self, Self::Dotenv | Self::Shell)
    }
}

/// The most fields that a file names.
const MAX_KEYS: usize = 64;
/// The longest name of a field, and the longest name in a file, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 512;

impl TryFrom<Vec<NamedField>> for Keys {
    type Error = Invalid;

    fn try_from(fields: Vec<NamedField>) -> Result<Self, Invalid> {
        if fields.is_empty() {
            return invalid("has no field: remove `keys` for the whole secret");
        }
        if fields.len() > MAX_KEYS {
            return invalid(format!("has {} fields, allowed are {MAX_KEYS}", fields.len()));
        }
        for (index, NamedField { name, field }) in fields.iter().enumerate() {
            for text in [name, field] {
                if text.is_empty() || text.len() > MAX_KEY_BYTES || !text.chars().all(is_printable) {
                    return invalid(format!(
                        "has {text:?}, which is not a name of 1 to {MAX_KEY_BYTES} bytes without control characters"
                    ));
                }
            }
            if fields[..index].iter().any(|earlier| earlier.name == *name) {
                return invalid(format!("has the name {name:?} twice"));
            }
        }
        Ok(Self(fields))
    }
}

impl From<Keys> for Vec<NamedField> {
    fn from(keys: Keys) -> Self {
        keys.0
    }
}

impl Keys {
    /// The fields in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &NamedField> {
        self.0.iter()
    }
}

impl Part {
    /// The one field. None: the file has several fields.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Whole | Self::Keys(_) => None,
        }
    }
}

impl<P> Content<P> {
    /// The requests whose answers the file is made of.
    pub fn requests(&self) -> &[SecretRequest<P>] {
        match self {
            Self::Secret(content) => std::slice::from_ref(&content.request),
            Self::Template(template) => template.requests(),
        }
    }

    /// The format of the file. A template has the format that its text has.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::Secret(content) => content.format,
            Self::Template(_) => Format::Raw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[(&str, &str)]) -> Result<Keys, String> {
        let fields = names.iter().map(|(name, field)| NamedField {
            name: (*name).to_owned(),
            field: (*field).to_owned(),
        });
        Keys::try_from(fields.collect::<Vec<_>>()).map_err(|why| why.to_string())
    }

    #[test]
    fn one_field_may_be_there_under_two_names_and_a_name_only_once() {
        assert!(keys(&[("A", "user"), ("B", "user")]).is_ok());
        let twice = keys(&[("A", "user"), ("A", "password")]).unwrap_err();
        assert_eq!(twice, "has the name \"A\" twice");
    }

    #[test]
    fn names_have_limits() {
        for bad in ["", "a\nb", &"x".repeat(513)] {
            assert!(keys(&[(bad, "user")]).is_err(), "{bad:?}");
            assert!(keys(&[("A", bad)]).is_err(), "{bad:?}");
        }
        assert!(keys(&[]).is_err());
    }
}
