//! From the fields of a secret to the bytes of a file. Pure: no clock, no files, no network. What is delivered is never
//! parsed again (`{{` and `$` are text like any other), and no error holds a value.

mod decode;
mod format;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::json;
use crate::plan::{Decode, Format, PlannedFile};
use crate::secret::Secret;
use format::Chosen;

/// Why a secret's data cannot become the file. Names and positions only, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The secret has no such field, or it is null.
    #[error("the secret has no field {field:?} ({available})")]
    NoField {
        /// The field asked for.
        field: String,
        /// The names there are.
        available: FieldNames,
    },
    /// A field's text is not what `decode` says.
    #[error("the field {field:?} is no valid {encoding}: {problem}")]
    Decode {
        /// The field.
        field: String,
        /// What it was to be decoded from.
        encoding: &'static str,
        /// Where it went wrong.
        problem: String,
    },
    /// The format cannot hold this field.
    #[error("the field {field:?} cannot be written as {format}: {problem}")]
    Format {
        /// The field.
        field: String,
        /// The format's name.
        format: &'static str,
        /// Why.
        problem: &'static str,
    },
    /// A field's text is no Unicode text (a lone surrogate).
    #[error("the field {field:?} is no valid Unicode text")]
    NotText {
        /// The field.
        field: String,
    },
    /// The plan asks for something that has no meaning.
    #[error("{0}")]
    Plan(&'static str),
}

/// The names of a secret's fields, for a message: their number, and the first few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldNames {
    count: usize,
    first: Vec<String>,
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

/// A secret's data: the JSON object as the server wrote it, and its fields.
pub struct Fields<'a> {
    json: &'a str,
    fields: BTreeMap<Cow<'a, str>, &'a str>,
}

impl<'a> Fields<'a> {
    /// Reads the object. The error is about syntax and holds no value.
    pub fn parse(json: &'a str) -> Result<Self, NotAnObject> {
        let members = json::members(json).ok_or(NotAnObject)?;
        let count = members.len();
        let fields: BTreeMap<_, _> = members.into_iter().collect();
        match fields.len() == count {
            true => Ok(Self { json, fields }),
            false => Err(NotAnObject),
        }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn names(&self) -> FieldNames {
        FieldNames {
            count: self.fields.len(),
            first: self
                .fields
                .keys()
                .take(10)
                .map(|name| name.chars().take(64).collect())
                .collect(),
        }
    }
}

/// The data of a secret is no JSON object, or has a field twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data is no JSON object of distinct fields")]
pub struct NotAnObject;

/// A field's value: text, or JSON kept as the server wrote it.
enum Value<'a> {
    Text(Zeroizing<Vec<u8>>),
    Json(&'a str),
}

/// The bytes of one file, from the fields of its secret.
pub fn render<P>(file: &PlannedFile<P>, fields: &Fields<'_>) -> Result<Secret, RenderError> {
    check(file)?;
    let Some(key) = file.key.as_deref() else {
        let whole: Vec<(&str, Value<'_>)> = fields
            .fields
            .iter()
            .map(|(name, raw)| Ok((name.as_ref(), value(name, raw)?)))
            .collect::<Result<_, RenderError>>()?;
        return match file.format {
            Format::Json => Ok(json::compact(fields.json).into()),
            Format::Yaml => Ok(format::yaml(&whole).into()),
            Format::Dotenv => format::dotenv(&whole, Chosen::ByWriter).map(Secret::from),
            Format::Properties => format::properties(&whole).map(Secret::from),
            Format::Raw => Err(RenderError::Plan(RAW_NEEDS_KEY)),
        };
    };
    let raw = match fields.fields.get(key) {
        Some(json) if *json != "null" => json,
        _ => {
            return Err(RenderError::NoField {
                field: key.to_owned(),
                available: fields.names(),
            });
        }
    };
    let mut value = value(key, raw)?;
    if file.decode != Decode::None {
        let encoded = match &value {
            Value::Text(text) => text.as_slice(),
            Value::Json(json) => json.as_bytes(),
        };
        value = Value::Text(
            decode::decode(file.decode, encoded).map_err(|problem| RenderError::Decode {
                field: key.to_owned(),
                encoding: decode::name(file.decode),
                problem,
            })?,
        );
    }
    if file.format != Format::Raw
        && let Value::Text(text) = &value
        && std::str::from_utf8(text).is_err()
    {
        return Err(RenderError::Format {
            field: key.to_owned(),
            format: format::name(file.format),
            problem: "it is binary once decoded; only the format raw takes that",
        });
    }
    let one = [(key, value)];
    match file.format {
        Format::Raw => {
            let [(_, value)] = one;
            Ok(match value {
                Value::Text(text) => text.into(),
                Value::Json(json) => json::compact(json).into(),
            })
        }
        Format::Json => Ok(format::json_value(&one[0].1).into()),
        Format::Yaml => Ok(format::yaml_value(&one[0].1).into()),
        Format::Dotenv => format::dotenv(&one, Chosen::ByAuthor).map(Secret::from),
        Format::Properties => format::properties(&one).map(Secret::from),
    }
}

const RAW_NEEDS_KEY: &str = "the format raw needs a key";

/// What of a planned file can be judged before anything was read.
pub fn check<P>(file: &PlannedFile<P>) -> Result<(), RenderError> {
    match (&file.key, file.format, file.decode) {
        (None, Format::Raw, _) => Err(RenderError::Plan(RAW_NEEDS_KEY)),
        (None, _, decode) if decode != Decode::None => Err(RenderError::Plan("decode needs a key")),
        _ => Ok(()),
    }
}

fn value<'a>(field: &str, json: &'a str) -> Result<Value<'a>, RenderError> {
    if !json.starts_with('"') {
        return Ok(Value::Json(json));
    }
    match serde_json::from_str::<String>(json) {
        Ok(text) => Ok(Value::Text(Zeroizing::new(text.into_bytes()))),
        Err(_) => Err(RenderError::NotText {
            field: field.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
