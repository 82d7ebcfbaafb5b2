//! The formats of files.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a fuzz target panics if a law is broken"
)]

use serde_json::{Map, Value};
use serde_saphyr::DuplicateKeyPolicy;

use super::input::{self, FORMATS};
use crate::plan::{ApiPath, Decode, Destination, Format, Part, SecretContent, SecretRequest};
use crate::render::{Fields, render, render_all};
use crate::secret::Secret;

const DECODES: [Decode; 4] = [Decode::None, Decode::Base64, Decode::Base64url, Decode::Hex];

/// The first record is a secret's data as JSON, the second a destination. Laws: JSON and YAML hold the secret's texts; a message is one
/// line and has no value of the secret.
pub fn formats(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let (data, destination) = input::first_record(text);
    let Ok(fields) = Fields::parse(data) else { return };
    let destination = destination.parse::<Destination>().ok();
    let values: Option<Map<String, Value>> = serde_json::from_str(data).ok();
    let first = values.iter().flatten().map(|(key, _)| key.clone()).next();
    for format in FORMATS {
        let whole = rendered(Part::Whole, Decode::None, format, &fields);
        if let (Some(file), Some(values)) = (whole, &values) {
            insist_on_the_values(format, file.expose(), values);
        }
        for decode in DECODES {
            let key = first.clone().unwrap_or_default();
            rendered(Part::Key(key), decode, format, &fields);
        }
    }
    if let (Some(destination), Ok(path)) = (destination, "kv/data/a".parse::<ApiPath>()) {
        let content = content(path, Part::Whole, Decode::None, Format::Json);
        if let Err(error) = render_all(&content, &destination, &fields) {
            input::insist_on_a_line(&error.to_string());
        }
    }
}

fn content(path: ApiPath, part: Part, decode: Decode, format: Format) -> SecretContent {
    SecretContent {
        request: SecretRequest::read(path),
        part,
        decode,
        format,
    }
}

fn rendered(part: Part, decode: Decode, format: Format, fields: &Fields<'_>) -> Option<Secret> {
    let path = "kv/data/a".parse().ok()?;
    match render(&content(path, part, decode, format), fields) {
        Ok(file) => Some(file),
        Err(error) => {
            input::insist_on_a_line(&error.to_string());
            None
        }
    }
}

/// Insists that a parser of the format finds each text of the secret in the file.
fn insist_on_the_values(format: Format, file: &[u8], values: &Map<String, Value>) {
    let text = std::str::from_utf8(file).expect("the file is text");
    let read: Map<String, Value> = match format {
        Format::Json => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")),
        // An object inside a field may have the same key twice. podkey writes both keys, as in JSON. (Vault and OpenBao never send such an
        // object.)
        Format::Yaml => {
            let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
            serde_saphyr::from_str_with_options(text, options).unwrap_or_else(|error| panic!("{error}: {text}"))
        }
        _ => return,
    };
    for (key, value) in values {
        if let Value::String(value) = value {
            assert_eq!(
                read.get(key).and_then(Value::as_str),
                Some(value.as_str()),
                "{key:?} in {text}"
            );
        }
    }
}
