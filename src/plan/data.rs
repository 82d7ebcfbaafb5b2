//! The body of a write, for secrets engines that answer a write with a secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Invalid;
use crate::text::is_printable;

/// The most fields in a body.
const MAX_FIELDS: usize = 64;
/// The limit for all names and values of a body together, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// The body of a write, such as `{"common_name": "web.example.com"}`. Not a secret: everybody who may read the pod can read the body.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Value>", into = "BTreeMap<String, Value>")]
pub struct Data(BTreeMap<String, Value>);

/// The value of a field. Numbers and booleans are texts: the server converts a text to the type that its engine needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    /// A text, such as `web.example.com`, `24h` or `true`.
    Text(String),
    /// A list, such as a list of host names.
    List(Vec<String>),
    /// A set of names with values, such as the extensions of an ssh certificate.
    Map(BTreeMap<String, String>),
}

impl TryFrom<BTreeMap<String, Value>> for Data {
    type Error = Invalid;

    fn try_from(fields: BTreeMap<String, Value>) -> Result<Self, Invalid> {
        match fields.is_empty() {
            true => super::invalid("has no field: remove `data` to read the path"),
            false => Self::written(fields),
        }
    }
}

impl Data {
    /// Data that a template writes: perhaps without a field, as an argument without text makes it in consul-template.
    pub(super) fn written(fields: BTreeMap<String, Value>) -> Result<Self, Invalid> {
        if fields.len() > MAX_FIELDS {
            return super::invalid(format!("has {} fields, allowed are {MAX_FIELDS}", fields.len()));
        }
        if let Some(name) = fields
            .keys()
            .find(|name| name.is_empty() || !name.chars().all(is_printable))
        {
            return super::invalid(format!("has the field {name:?}, which is not a valid name"));
        }
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MAX_BYTES {
            return super::invalid(format!("has {bytes} bytes, allowed are {MAX_BYTES}"));
        }
        Ok(Self(fields))
    }
}

impl From<Data> for BTreeMap<String, Value> {
    fn from(data: Data) -> Self {
        data.0
    }
}

impl Data {
    /// The value of each field.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.0.values()
    }
}

impl Value {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(texts) => texts.iter().map(|text| text.len() + 1).sum(),
            Self::Map(texts) => texts.iter().map(|(name, text)| name.len() + text.len() + 1).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Data, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn data_has_texts_lists_of_texts_and_sets_of_texts() {
        let text = r#"{"alt":["a","b"],"common_name":"web","ext":{"permit-pty":""}}"#;
        assert_eq!(serde_json::to_string(&parse(text).unwrap()).unwrap(), text);
        for bad in [
            "{}",
            "[]",
            "\"x\"",
            r#"{"a":1}"#,
            r#"{"a":[[]]}"#,
            r#"{"a":{"b":[]}}"#,
            r#"{"":"x"}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn data_has_limits() {
        let fields = |count: usize, length: usize| {
            let fields = (0..count).map(|n| (format!("f{n:02}"), Value::Text("x".repeat(length))));
            Data::try_from(fields.collect::<BTreeMap<_, _>>())
        };
        assert!(fields(64, 253).is_ok());
        assert!(fields(64, 254).is_err());
        assert!(fields(65, 1).is_err());
    }
}
