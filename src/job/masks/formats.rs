//! Reads the fields of a file that podkey wrote: for each format the exact inverse of `src/render/format.rs`. A text that podkey
//! would not have written is left to the scanner, which guesses.

use std::borrow::Cow;

use super::json;
use super::part::SecretPart;
use super::quotes::unescaped;
use crate::plan::Format;
use crate::text::is_variable_name;

/// The values in a text of this format, all or somewhat more than `most`, each as written in the file too. None: the format is raw, or
/// podkey did not write this text.
pub(super) fn parts(format: Format, text: &str, most: usize) -> Option<Vec<SecretPart<'_>>> {
    match format {
        Format::Raw => None,
        Format::Json => json::parts(text, most),
        Format::Yaml => yaml(text, most),
        Format::Dotenv | Format::Shell => dotenv(text, most),
        Format::Properties => properties(text, most),
    }
}

/// `key: value` lines, or a value alone in one line. A long key is on its own line.
fn yaml(text: &str, most: usize) -> Option<Vec<SecretPart<'_>>> {
    let mut parts = Vec::new();
    let mut lines = text.split('\n').zip(1..);
    while let Some((line, number)) = lines.next()
        && parts.len() <= most
    {
        let (key, value, number) = if let Some(key) = line.strip_prefix("? ") {
            let (value, number) = lines.next()?;
            (key, value.strip_prefix(": ")?, number)
        } else if let Some((key, value)) = yaml_key(line) {
            (key, value, number)
        } else {
            // A value alone.
            let is_alone = number == 1 && lines.next().is_none() && is_flow(line);
            return is_alone.then(|| {
                json::add(line, 1, "".into(), most, yaml_string, &mut parts);
                parts
            });
        };
        if !is_flow(value) {
            return None;
        }
        let key = match key.starts_with('"') {
            true => yaml_string(key),
            false => Cow::Borrowed(key),
        };
        json::add(value, number, key, most, yaml_string, &mut parts);
    }
    Some(parts)
}

/// The key with which a line begins, and the text after the colon.
fn yaml_key(line: &str) -> Option<(&str, &str)> {
    let end = match line.starts_with('"') {
        true => crate::json::tokens(line).next()?.len(),
        false => line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))?,
    };
    let (key, after) = line.split_at_checked(end)?;
    Some((key, after.strip_prefix(": ")?)).filter(|_| !key.is_empty())
}

/// Whether podkey could have written each token: a closed string, a word of JSON, punctuation.
fn is_flow(text: &str) -> bool {
    crate::json::tokens(text).all(|token| match token.as_bytes() {
        [b'"', inside @ .., b'"'] => inside.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 0,
        [b'{' | b'}' | b'[' | b']' | b':' | b','] => true,
        [b'0'..=b'9' | b'-', rest @ ..] => rest.iter().all(|b| b.is_ascii_digit() || b"+-.eE".contains(b)),
        _ => matches!(token, "true" | "false" | "null"),
    })
}

fn yaml_string(token: &str) -> Cow<'_, str> {
    unescaped(json::inside(token))
}

/// `NAME=value` lines. Each part of a value is bare or in apostrophes; an apostrophe is `\'`.
fn dotenv(text: &str, most: usize) -> Option<Vec<SecretPart<'_>>> {
    let mut parts = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while !rest.is_empty() && parts.len() <= most {
        let (name, after) = rest.split_once('=')?;
        if !is_variable_name(name.strip_prefix("export ").unwrap_or(name)) {
            return None;
        }
        let (value, spelled) = shell_word(after)?;
        rest = &after[spelled.len()..];
        rest = rest.strip_prefix('\n').unwrap_or(rest);
        let lines = spelled.bytes().filter(|b| *b == b'\n').count();
        let quoted = spelled.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        parts.push(SecretPart::value(line, name, value).spelled(quoted.unwrap_or(spelled)));
        line += 1 + lines;
    }
    Some(parts)
}

/// The value in a dotenv file with one variable. The value need not be UTF-8, unlike a text for [`parts`].
pub(super) fn value_of_dotenv(file: &[u8]) -> Option<Vec<u8>> {
    let file = file.strip_suffix(b"\n").unwrap_or(file);
    let file = file.strip_prefix(b"export ").unwrap_or(file);
    let (name, after) = file.split_at(file.iter().position(|b| *b == b'=')?);
    if !is_variable_name(std::str::from_utf8(name).ok()?) {
        return None;
    }
    let word = after.get(1..)?;
    let (value, length) = shell_word_of_bytes(word)?;
    (length == word.len()).then_some(value)
}

/// The value of a word that ends with its line, and the word as written.
fn shell_word(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let (value, length) = shell_word_of_bytes(text.as_bytes())?;
    Some((Cow::Owned(String::from_utf8(value).ok()?), text.get(..length)?))
}

/// The value of a word that ends with its line, and the length of the word as written.
fn shell_word_of_bytes(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut value = Vec::new();
    let mut at = 0;
    loop {
        match bytes.get(at) {
            None | Some(b'\n') => break,
            Some(b'\'') => {
                let inside = &bytes[at + 1..];
                let end = inside.iter().position(|b| *b == b'\'')?;
                value.extend_from_slice(&inside[..end]);
                at += end + 2;
            }
            Some(b'\\') if bytes.get(at + 1) == Some(&b'\'') => {
                value.push(b'\'');
                at += 2;
            }
            Some(b) if b.is_ascii_alphanumeric() || b"_./:@%+,=-".contains(b) => {
                value.push(*b);
                at += 1;
            }
            Some(_) => return None,
        }
    }
    Some((value, at))
}

/// `key=value` lines in ASCII, with the escapes of `java.util.Properties`.
fn properties(text: &str, most: usize) -> Option<Vec<SecretPart<'_>>> {
    let mut parts = Vec::new();
    for (line, number) in text.split('\n').zip(1..) {
        if line.is_empty() && text.is_empty() || parts.len() > most {
            break;
        }
        let (key, value) = line.split_at(end_of_key(line)?);
        let value = value.strip_prefix('=')?;
        parts.push(SecretPart::value(number, property(key)?, property(value)?).spelled(value));
    }
    Some(parts)
}

/// The place of the `=` that is not escaped.
fn end_of_key(line: &str) -> Option<usize> {
    let mut bytes = line.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'=' => return Some(at),
            _ => {}
        }
    }
    None
}

/// The text without the escapes. `\uXXXX` are units of UTF-16.
fn property(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
        return None;
    }
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            units.push(u16::from(*first));
            continue;
        }
        let [escape, after @ ..] = rest else {
            return None;
        };
        rest = after;
        units.push(match escape {
            b'n' => 0x0a,
            b'r' => 0x0d,
            b't' => 0x09,
            b'f' => 0x0c,
            b'u' => {
                let (digits, after) = rest.split_at_checked(4)?;
                rest = after;
                digits.iter().try_fold(0, |unit, digit| {
                    let digit = char::from(*digit).to_digit(16)?;
                    Some(unit << 4 | u16::try_from(digit).ok()?)
                })?
            }
            b' ' | b'=' | b':' | b'#' | b'!' | b'\\' => u16::from(*escape),
            _ => return None,
        });
    }
    String::from_utf16(&units).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::render::tests::rendered;

    /// The strings inside a value, in their order.
    fn strings(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Number(number) => found.push(number.to_string()),
            Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
            Value::Object(members) => members.values().for_each(|value| strings(value, found)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn texts(format: Format, file: &str) -> Option<Vec<String>> {
        // Without the line feed at the end, as `Masks` passes the file.
        let body = file.trim_end_matches(['\n', '\r']);
        let parts = parts(format, body, 9999)?;
        Some(parts.into_iter().map(|part| part.text.into_owned()).collect())
    }

    fn awkward() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[a-zA-Z0-9 :=\\\\'\"#!$`\t\r\n{}\\[\\],&<>~-]{0,12}",
            any::<String>(),
            Just("\u{2028}\u{1f511}\u{feff}\u{fffe}\u{85}\u{1fffe}".to_owned()),
        ];
        proptest::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            8 => awkward().prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<bool>().prop_map(Value::from),
            1 => Just(Value::Null),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map(awkward(), inner, 0..3)
                    .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_readers_return_the_values_that_render_wrote(
            fields in proptest::collection::btree_map(awkward(), json(), 0..4),
            names in proptest::collection::vec("[A-Za-z_][A-Za-z0-9_]{0,20}", 4),
            long in 0..3_usize,
        ) {
            let fields: BTreeMap<String, Value> = fields.into_iter().collect();
            let long: String = "k".repeat(long * 150);
            for format in [Format::Json, Format::Yaml, Format::Dotenv, Format::Properties] {
                let named: BTreeMap<String, Value> = match format {
                    Format::Dotenv => names.iter().map(|name| format!("X{name}")).zip(fields.values().cloned()).collect(),
                    _ => fields.iter().map(|(name, value)| (format!("{name}{long}"), value.clone())).collect(),
                };
                let json = serde_json::to_string(&named).unwrap();
                let expected = |value: &Value| match (format, value) {
                    (Format::Json | Format::Yaml, value) => {
                        let mut found = Vec::new();
                        strings(value, &mut found);
                        found
                    }
                    (_, Value::Null) => vec![],
                    (_, Value::String(text)) => vec![text.clone()],
                    (_, value) => vec![value.to_string()],
                };
                if let Ok(file) = rendered(&json, None, format) {
                    let all: Vec<String> = named.values().flat_map(expected).collect();
                    prop_assert_eq!(texts(format, &file), Some(all), "{:?} {}", format, file);
                }
                for (key, value) in &named {
                    if let Ok(file) = rendered(&json, Some(key), format) {
                        prop_assert_eq!(texts(format, &file), Some(expected(value)), "{:?} {}", format, file);
                    }
                }
            }
        }

        #[test]
        fn no_text_makes_a_reader_panic_or_loop(text in any::<String>(), odd in "[a-c=:'\"\\\\u{}\\[\\], \n?-]{0,60}") {
            for text in [text, odd] {
                for format in [Format::Raw, Format::Json, Format::Yaml, Format::Dotenv, Format::Properties] {
                    for most in [0, 1, 99] {
                        if let Some(parts) = parts(format, &text, most) {
                            prop_assert!(parts.len() <= most + 1);
                        }
                    }
                }
            }
        }
    }
}
