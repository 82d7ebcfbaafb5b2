//! From the fields of a secret to the bytes of a file. Pure: no clock, no files, no network. What is delivered is never
//! parsed again (`{{` and `$` are text like any other), and no error holds a value.

mod decode;
mod format;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::json;
use crate::plan::{Decode, Destination, FieldName, Format, Invalid, MAX_FIELD_FILES, PlannedFile};
use crate::secret::Secret;
use format::Chosen;

/// Why a secret's data cannot become the file. Names and positions only, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The field is there, and is null.
    #[error("the field {field:?} is null: it has no value to deliver")]
    NullField {
        /// The field.
        field: String,
    },
    /// The secret has no such field.
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
    /// A field's name makes no file's name.
    #[error("no file can be named for the field {field:?}: the name {problem}")]
    FieldName {
        /// The field.
        field: String,
        /// Why, as the end of a sentence.
        problem: Invalid,
    },
    /// Two fields' names make one file's name.
    #[error("the fields {first:?} and {second:?} would both be the file {file}")]
    SameName {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// The file.
        file: Destination,
    },
    /// More fields than there may be files.
    #[error("{0} fields would be as many files, allowed are {MAX_FIELD_FILES}")]
    TooManyFields(usize),
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

/// A planned file, or the files of one that is made for each field: where the containers see them, and what is in them.
pub fn render_all<P>(file: &PlannedFile<P>, fields: &Fields<'_>) -> Result<Vec<(Destination, Secret)>, RenderError> {
    match &file.file {
        Destination::EachField(name) => each_field(name, file.decode, fields),
        one => Ok(vec![(one.clone(), render(file, fields)?)]),
    }
}

/// One file for each field that is not null, raw.
fn each_field(
    name: &FieldName,
    decode: Decode,
    fields: &Fields<'_>,
) -> Result<Vec<(Destination, Secret)>, RenderError> {
    let present = fields.fields.iter().filter(|(_, json)| **json != "null");
    let count = present.clone().count();
    if count > MAX_FIELD_FILES {
        return Err(RenderError::TooManyFields(count));
    }
    let mut made_of: BTreeMap<String, &str> = BTreeMap::new();
    let file = |field: &'_ str| {
        name.of(field).map_err(|problem| RenderError::FieldName {
            field: field.chars().take(300).collect(),
            problem,
        })
    };
    // All names first: nothing is decoded in vain, and what is wrong with one is told before what is wrong with a value.
    for (field, _) in present.clone() {
        let file = file(field)?;
        if let Some(first) = made_of.insert(file.to_string(), field) {
            return Err(RenderError::SameName {
                first: first.to_owned(),
                second: field.to_string(),
                file,
            });
        }
    }
    present
        .map(|(field, json)| Ok((file(field)?, raw(decoded(field, value(field, json)?, decode)?).into())))
        .collect()
}

/// The bytes of one file, from the fields of its secret.
pub fn render<P>(file: &PlannedFile<P>, fields: &Fields<'_>) -> Result<Secret, RenderError> {
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
            Format::Raw => Err(RenderError::Plan("the format raw needs a key")),
        };
    };
    let json = match fields.fields.get(key) {
        Some(json) if *json != "null" => json,
        Some(_) => return Err(RenderError::NullField { field: key.to_owned() }),
        None => {
            return Err(RenderError::NoField {
                field: key.to_owned(),
                available: fields.names(),
            });
        }
    };
    let value = decoded(key, value(key, json)?, file.decode)?;
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
            Ok(raw(value).into())
        }
        Format::Json => Ok(format::json_value(&one[0].1).into()),
        Format::Yaml => Ok(format::yaml_value(&one[0].1).into()),
        Format::Dotenv => format::dotenv(&one, Chosen::ByAuthor).map(Secret::from),
        Format::Properties => format::properties(&one).map(Secret::from),
    }
}

/// The value after `decode`.
fn decoded<'a>(field: &str, value: Value<'a>, decode: Decode) -> Result<Value<'a>, RenderError> {
    if decode == Decode::None {
        return Ok(value);
    }
    let encoded = match &value {
        Value::Text(text) => text.as_slice(),
        Value::Json(json) => json.as_bytes(),
    };
    match decode::decode(decode, encoded) {
        Ok(bytes) => Ok(Value::Text(bytes)),
        Err(problem) => Err(RenderError::Decode {
            field: field.chars().take(300).collect(),
            encoding: decode::name(decode),
            problem,
        }),
    }
}

/// The value alone: a text as it is, a list of PEM blocks as one text of them, anything else as JSON.
fn raw(value: Value<'_>) -> Zeroizing<Vec<u8>> {
    match value {
        Value::Text(text) => text,
        Value::Json(json) => pem_blocks(json).unwrap_or_else(|| json::compact(json)),
    }
}

/// The texts of a list behind each other, each one ending its line, where every one of them is PEM (RFC 7468), such as a
/// certificate's `ca_chain`: what reads certificates reads them so, and nothing reads them in a JSON list.
fn pem_blocks(json: &str) -> Option<Zeroizing<Vec<u8>>> {
    let blocks = json::elements(json).filter(|blocks| !blocks.is_empty())?;
    let mut out = Zeroizing::new(Vec::with_capacity(json.len()));
    for block in blocks {
        let block = Zeroizing::new(serde_json::from_str::<String>(block).ok()?);
        let block = block.trim();
        let is_pem = block.starts_with("-----BEGIN ") && block.ends_with("-----") && block.contains("\n-----END ");
        if !is_pem {
            return None;
        }
        out.extend_from_slice(block.as_bytes());
        out.push(b'\n');
    }
    Some(out)
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
