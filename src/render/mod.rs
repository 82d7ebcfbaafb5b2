//! From the fields of a secret, or the secrets of a template, to the bytes of a file. Pure. A value is never parsed again (`{{` and `$` have no meaning in it), and no
//! error contains a value.

mod decode;
mod format;
pub(crate) mod kubelet_env;
mod template;

use std::borrow::Cow;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::json;
pub use crate::json::FieldNames;
use crate::plan::{Decode, Destination, FieldName, Format, Invalid, Keys, MAX_FIELD_FILES, Part, SecretContent};
use crate::secret::Secret;
use crate::template::TemplateError;
use format::Chosen;
pub(crate) use template::render_template;

/// Why a secret's data cannot become the file. Contains names and positions, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The field is null.
    #[error("the field {field:?} is null: it has no value to deliver")]
    NullField {
        /// The field.
        field: String,
    },
    /// The secret has no such field.
    #[error("the secret has no field {field:?} ({available})")]
    NoField {
        /// The field that the plan names.
        field: String,
        /// The names that the secret has.
        available: FieldNames,
    },
    /// A field's text is not valid in the encoding of `decode`.
    #[error("the field {field:?} is not valid {encoding}: {problem}")]
    Decode {
        /// The field.
        field: String,
        /// The encoding.
        encoding: &'static str,
        /// The problem and its place.
        problem: String,
    },
    /// The format cannot hold this field.
    #[error("the field {field:?} cannot be written as {format}: {problem}")]
    Format {
        /// The field.
        field: String,
        /// The format's name.
        format: &'static str,
        /// The reason.
        problem: &'static str,
    },
    /// A field's text is not valid Unicode (a lone surrogate).
    #[error("the field {field:?} is not valid Unicode text")]
    NotText {
        /// The field.
        field: String,
    },
    /// A field's name cannot be the name of a file.
    #[error("no file can be named for the field {field:?}: the name {problem}")]
    FieldName {
        /// The field.
        field: String,
        /// The reason, as the end of a sentence.
        problem: Invalid,
    },
    /// Two fields would become one file.
    #[error("the fields {first:?} and {second:?} would both be the file {file}")]
    SameName {
        /// The first field.
        first: String,
        /// The second field.
        second: String,
        /// The file.
        file: Destination,
    },
    /// More fields than the limit of files.
    #[error("{0} fields would be as many files, allowed are {MAX_FIELD_FILES}")]
    TooManyFields(usize),
    /// A template cannot make the file.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// The secrets of a template have more values than the limit.
    #[error("the secrets that it reads have more than {0} values together")]
    TooManyValues(usize),
    /// The plan contradicts itself.
    #[error("{0}")]
    Plan(&'static str),
}

/// A secret's data: the JSON object as the server wrote it, and its fields.
pub struct Fields<'a> {
    json: &'a str,
    fields: BTreeMap<Cow<'a, str>, &'a str>,
}

impl<'a> Fields<'a> {
    /// Reads the object. The error contains no value.
    pub fn parse(json: &'a str) -> Result<Self, NotAnObject> {
        let members = json::members(json).ok_or(NotAnObject)?;
        let count = members.len();
        let fields: BTreeMap<_, _> = members.into_iter().collect();
        match fields.len() == count {
            true => Ok(Self { json, fields }),
            false => Err(NotAnObject),
        }
    }

    /// The JSON of a field that has a value.
    fn field(&self, name: &str) -> Result<&'a str, RenderError> {
        match self.fields.get(name) {
            Some(json) if *json != "null" => Ok(json),
            Some(_) => Err(RenderError::NullField { field: name.to_owned() }),
            None => Err(RenderError::NoField {
                field: name.to_owned(),
                available: self.names(),
            }),
        }
    }

    fn names(&self) -> FieldNames {
        FieldNames::of(self.fields.keys().map(AsRef::as_ref))
    }
}

/// The data of a secret is not a JSON object, or has a field twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data is not a JSON object of distinct fields")]
pub struct NotAnObject;

/// A field's value: text, or JSON as the server wrote it.
enum TextOrJson<'a> {
    Text(Zeroizing<Vec<u8>>),
    Json(&'a str),
}

/// The destination and the content of each file that one secret becomes: one file, or one file for each field.
pub(crate) fn render_all<P>(
    content: &SecretContent<P>,
    destination: &Destination,
    fields: &Fields<'_>,
) -> Result<Vec<(Destination, Secret)>, RenderError> {
    match destination {
        Destination::EachField(name) => each_field(name, content.decode, fields),
        path => Ok(vec![(path.clone(), render(content, fields)?)]),
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
    // All names first, so that an invalid name is reported before an invalid value.
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
pub fn render<P>(content: &SecretContent<P>, fields: &Fields<'_>) -> Result<Secret, RenderError> {
    match &content.part {
        Part::Whole => whole(content.format, fields),
        Part::Key(key) => one_field(content, key, fields),
        Part::Keys(keys) => named(content.format, keys, fields),
    }
}

/// Every field.
fn whole(format: Format, fields: &Fields<'_>) -> Result<Secret, RenderError> {
    if format == Format::Json {
        return Ok(json::compact(fields.json).into());
    }
    let whole = fields.fields.iter();
    let whole: Vec<(&str, TextOrJson<'_>)> = whole
        .map(|(name, raw)| Ok((name.as_ref(), value(name, raw)?)))
        .collect::<Result<_, RenderError>>()?;
    written(format, &whole, Chosen::ByWriter)
}

/// The fields of `keys`, in their order and under their names.
fn named(format: Format, keys: &Keys, fields: &Fields<'_>) -> Result<Secret, RenderError> {
    let named: Vec<(&str, TextOrJson<'_>)> = keys
        .iter()
        .map(|key| Ok((key.name.as_str(), value(&key.field, fields.field(&key.field)?)?)))
        .collect::<Result<_, RenderError>>()?;
    written(format, &named, Chosen::ByAuthor)
}

fn written(format: Format, fields: &[(&str, TextOrJson<'_>)], chosen: Chosen) -> Result<Secret, RenderError> {
    match format {
        Format::Json => Ok(format::json(fields).into()),
        Format::Yaml => Ok(format::yaml(fields).into()),
        Format::Dotenv | Format::Shell => format::variables(format, fields, chosen).map(Secret::from),
        Format::Properties => format::properties(fields).map(Secret::from),
        Format::Raw => Err(RenderError::Plan("the format raw needs a key")),
    }
}

/// One field.
fn one_field<P>(content: &SecretContent<P>, key: &str, fields: &Fields<'_>) -> Result<Secret, RenderError> {
    let SecretContent { decode, format, .. } = *content;
    let value = decoded(key, value(key, fields.field(key)?)?, decode)?;
    if format != Format::Raw
        && let TextOrJson::Text(text) = &value
        && std::str::from_utf8(text).is_err()
    {
        return Err(RenderError::Format {
            field: key.to_owned(),
            format: format.word(),
            problem: "it is binary after decoding, and only the format raw can hold binary",
        });
    }
    match format {
        Format::Raw => Ok(raw(value).into()),
        Format::Json => Ok(format::json_value(&value).into()),
        Format::Yaml => Ok(format::yaml_value(&value).into()),
        Format::Dotenv | Format::Shell | Format::Properties => written(format, &[(key, value)], Chosen::ByAuthor),
    }
}

/// The value after `decode`.
fn decoded<'a>(field: &str, value: TextOrJson<'a>, decode: Decode) -> Result<TextOrJson<'a>, RenderError> {
    if decode == Decode::None {
        return Ok(value);
    }
    let encoded = match &value {
        TextOrJson::Text(text) => text.as_slice(),
        TextOrJson::Json(json) => json.as_bytes(),
    };
    match decode::decode(decode, encoded) {
        Ok(bytes) => Ok(TextOrJson::Text(bytes)),
        Err(problem) => Err(RenderError::Decode {
            field: field.chars().take(300).collect(),
            encoding: decode.word(),
            problem,
        }),
    }
}

/// The value without a format: a text as it is, a list of PEM blocks as one text, anything else as JSON.
fn raw(value: TextOrJson<'_>) -> Zeroizing<Vec<u8>> {
    match value {
        TextOrJson::Text(text) => text,
        TextOrJson::Json(json) => pem_blocks(json).unwrap_or_else(|| json::compact(json)),
    }
}

/// The texts of a list as one text, each with a line feed at its end, if every text is PEM (RFC 7468), such as a certificate's
/// `ca_chain`: programs that read certificates read PEM blocks in sequence, and none reads a JSON list of them.
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

fn value<'a>(field: &str, json: &'a str) -> Result<TextOrJson<'a>, RenderError> {
    if !json.starts_with('"') {
        return Ok(TextOrJson::Json(json));
    }
    match serde_json::from_str::<String>(json) {
        Ok(text) => Ok(TextOrJson::Text(Zeroizing::new(text.into_bytes()))),
        Err(_) => Err(RenderError::NotText {
            field: field.to_owned(),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests;
