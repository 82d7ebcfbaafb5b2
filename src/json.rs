//! JSON as text: tokens, members of an object and elements of a list, each value as the server wrote it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The tokens of a valid JSON text, without the white space between them. A run of digits or letters is one token.
pub(crate) fn tokens(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let bytes = rest.as_bytes();
        let end = match bytes.first()? {
            b'"' => {
                let mut end = 1;
                while end < bytes.len() && bytes[end] != b'"' {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                (end + 1).min(bytes.len())
            }
            b'{' | b'}' | b'[' | b']' | b':' | b',' => 1,
            _ => bytes
                .iter()
                .position(|b| b" \t\r\n{}[]:,\"".contains(b))
                .unwrap_or(bytes.len()),
        };
        let (token, after) = rest.split_at(end);
        rest = after;
        Some(token)
    })
}

/// JSON without the white space between its tokens. Every token, above all a number, stays as the server wrote it.
pub(crate) fn compact(json: &str) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(json.len()));
    for token in tokens(json) {
        out.extend_from_slice(token.as_bytes());
    }
    out
}

/// The members of an object in their order, each value as its text. None: the text is not an object.
pub(crate) fn members(json: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let Members(members) = serde_json::from_str(json).ok()?;
    Some(members)
}

/// The elements of a list, each as its text. None: the text is not a list.
pub(crate) fn elements(json: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A member's name, borrowed if it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The names of a secret's fields, for a message: their number, and the first few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldNames {
    count: usize,
    first: Vec<String>,
}

impl FieldNames {
    /// The most names in a message.
    const MAX_NAMES: usize = 10;
    /// The most characters of a name in a message.
    const MAX_CHARS: usize = 64;

    pub(crate) fn of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Self {
        Self {
            count: names.len(),
            first: names.take(Self::MAX_NAMES).map(Self::short).collect(),
        }
    }

    /// The beginning of a name, for a message.
    pub(crate) fn short(name: &str) -> String {
        name.chars().take(Self::MAX_CHARS).collect()
    }
}

impl fmt::Display for FieldNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => f.write_str("it has no fields"),
            1 => write!(f, "it has 1 field: {:?}", self.first),
            n if n == self.first.len() => write!(f, "it has {n} fields: {:?}", self.first),
            n => write!(f, "it has {n} fields, among them {:?}", self.first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_keep_their_text() {
        let names = |json: &str| {
            members(json).map(|m| {
                m.into_iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(
            names(r#" {"b": 1.10, "\u0061":[ 1 ],"b":2}"#).unwrap(),
            ["b=1.10", "a=[ 1 ]", "b=2"]
        );
        assert_eq!(names("[]"), None);
        assert_eq!(names("{} {}"), None);
        assert_eq!(
            tokens(" {\"a\\\"\" : -1e+3}").collect::<Vec<_>>(),
            ["{", "\"a\\\"\"", ":", "-1e+3", "}"]
        );
    }
}
