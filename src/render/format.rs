//! The formats of a file: JSON, YAML, `NAME='value'` lines for sh, Java properties. The usual readers of each format return exactly the
//! value that was written.

use zeroize::Zeroizing;

use super::{RenderError, TextOrJson};
use crate::json::{compact, tokens};
use crate::plan::Format;
use crate::text::{is_variable_name, steers};

type Bytes = Zeroizing<Vec<u8>>;

/// A single value, as JSON.
pub(super) fn json_value(value: &TextOrJson<'_>) -> Bytes {
    match value {
        TextOrJson::Json(json) => compact(json),
        // The bytes were checked to be UTF-8.
        TextOrJson::Text(text) => {
            let mut out = Zeroizing::new(Vec::with_capacity(text.len() + 16));
            quote(&String::from_utf8_lossy(text), Quoting::Json, &mut out);
            out
        }
    }
}

/// An object with these fields, in their order.
pub(super) fn json(fields: &[(&str, TextOrJson<'_>)]) -> Bytes {
    let mut out = Zeroizing::new(Vec::with_capacity(room(fields)));
    out.push(b'{');
    for (index, (key, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        quote(key, Quoting::Json, &mut out);
        out.push(b':');
        out.extend_from_slice(&json_value(value));
    }
    out.push(b'}');
    out
}

/// A single value, as YAML.
pub(super) fn yaml_value(value: &TextOrJson<'_>) -> Bytes {
    let mut out = Zeroizing::new(Vec::new());
    put_yaml(value, &mut out);
    out.push(b'\n');
    out
}

/// The capacity for the text of these fields, if few characters are escaped. A buffer that grows is copied and wiped each time: a
/// secret of 4 MiB would need 12 MiB of memory at once.
fn room(fields: &[(&str, TextOrJson<'_>)]) -> usize {
    let of = |(key, value): &(&str, TextOrJson<'_>)| {
        let length = match value {
            TextOrJson::Text(text) => text.len(),
            TextOrJson::Json(json) => json.len(),
        };
        key.len() + length + length / 16 + 8
    };
    fields.iter().map(of).sum()
}

/// The longest key in bytes without `? ` before it. YAML parsers search for the colon in 1024 characters only, and an escape makes six
/// characters of one byte.
const MAX_PLAIN_KEY: usize = 160;

/// One `key: value` line for each field; strings in double quotes, nested values in flow style.
pub(super) fn yaml(fields: &[(&str, TextOrJson<'_>)]) -> Bytes {
    let mut out = Zeroizing::new(Vec::with_capacity(room(fields)));
    if fields.is_empty() {
        out.extend_from_slice(b"{}\n");
    }
    for (key, value) in fields {
        let long = key.len() > MAX_PLAIN_KEY;
        if long {
            out.extend_from_slice(b"? ");
        }
        if is_plain_yaml_key(key) {
            out.extend_from_slice(key.as_bytes());
        } else {
            quote(key, Quoting::Yaml, &mut out);
        }
        out.extend_from_slice(if long { b"\n: " } else { b": " });
        put_yaml(value, &mut out);
        out.push(b'\n');
    }
    out
}

/// Who chose the name of a variable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The pod's author named the field.
    ByAuthor,
    /// The writer of the secret.
    ByWriter,
}

/// `NAME=value` lines that `sh` reads with `.`, byte for byte; with [`Format::Shell`] each begins with `export `.
///
/// Variables that steer programs are refused if the secret's writer chose the name (a whole secret). If the plan names the field, the
/// pod's author wants the variable.
pub(super) fn variables(
    format: Format,
    fields: &[(&str, TextOrJson<'_>)],
    chosen: Chosen,
) -> Result<Bytes, RenderError> {
    let mut out = Zeroizing::new(Vec::with_capacity(room(fields)));
    for (key, value) in fields {
        let refuse = |problem| {
            Err(RenderError::Format {
                field: (*key).to_owned(),
                format: format.word(),
                problem,
            })
        };
        let text = match value {
            // A null field counts as missing.
            TextOrJson::Json("null") => continue,
            TextOrJson::Json(json) => compact(json),
            TextOrJson::Text(text) => text.clone(),
        };
        if !is_variable_name(key) {
            return refuse("its name is not a valid variable name ([A-Za-z_][A-Za-z0-9_]*)");
        }
        if chosen == Chosen::ByWriter && steers(key, "") {
            return refuse("a variable of this name decides what programs run, load or connect to");
        }
        if text.contains(&0) {
            return refuse("it has a NUL byte, which no variable can hold");
        }
        if format == Format::Shell {
            out.extend_from_slice(b"export ");
        }
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        if !text.is_empty()
            && text
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"_./:@%+,=-".contains(b))
        {
            out.extend_from_slice(&text);
        } else {
            out.push(b'\'');
            for &byte in text.iter() {
                match byte {
                    b'\'' => out.extend_from_slice(br"'\''"),
                    _ => out.push(byte),
                }
            }
            out.push(b'\'');
        }
        out.push(b'\n');
    }
    Ok(out)
}

/// `key=value` lines as `java.util.Properties` reads them, in any encoding that contains ASCII.
pub(super) fn properties(fields: &[(&str, TextOrJson<'_>)]) -> Result<Bytes, RenderError> {
    let mut out = Zeroizing::new(Vec::with_capacity(room(fields)));
    for (key, value) in fields {
        let text = match value {
            TextOrJson::Json("null") => continue,
            TextOrJson::Json(json) => compact(json),
            TextOrJson::Text(text) => text.clone(),
        };
        let Ok(text) = std::str::from_utf8(&text) else {
            return Err(RenderError::NotText {
                field: (*key).to_owned(),
            });
        };
        put_property(key, true, &mut out);
        out.push(b'=');
        put_property(text, false, &mut out);
        out.push(b'\n');
    }
    Ok(out)
}

fn put_yaml(value: &TextOrJson<'_>, out: &mut Vec<u8>) {
    match value {
        TextOrJson::Text(text) => quote(&String::from_utf8_lossy(text), Quoting::Yaml, out),
        TextOrJson::Json(json) => {
            let mut tokens = tokens(json).peekable();
            while let Some(token) = tokens.next() {
                if token.len() > MAX_PLAIN_KEY && tokens.peek() == Some(&":") {
                    out.extend_from_slice(b"? ");
                }
                match token {
                    // YAML 1.1 wants the space.
                    ":" => out.extend_from_slice(b": "),
                    "," => out.extend_from_slice(b", "),
                    // YAML does not have all of JSON's escapes: not surrogate pairs and `\/`.
                    _ if token.starts_with('"') => match serde_json::from_str::<String>(token) {
                        Ok(text) => quote(&Zeroizing::new(text), Quoting::Yaml, out),
                        // A lone surrogate: the escape stays as written.
                        Err(_) => out.extend_from_slice(token.as_bytes()),
                    },
                    _ => out.extend_from_slice(token.as_bytes()),
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    Json,
    Yaml,
}

/// A double-quoted string. For YAML, this also escapes characters that YAML 1.1 or 1.2 does not count as printable or reads as a
/// line break.
fn quote(text: &str, quoting: Quoting, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
            }
            _ if quoting == Quoting::Yaml && u32::from(c) & 0xfffe == 0xfffe => {
                out.extend_from_slice(format!("\\U{:08x}", u32::from(c)).as_bytes());
            }
            _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Whether YAML reads the word without quotes as this text: YAML 1.1 has many words for true, false and null.
fn is_plain_yaml_key(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
            .iter()
            .any(|word| key.eq_ignore_ascii_case(word))
}

fn put_property(text: &str, is_key: bool, out: &mut Vec<u8>) {
    for (index, unit) in text.encode_utf16().enumerate() {
        match u8::try_from(unit) {
            Ok(b' ') if is_key || index == 0 => out.extend_from_slice(b"\\ "),
            Ok(b'\n') => out.extend_from_slice(b"\\n"),
            Ok(b'\r') => out.extend_from_slice(b"\\r"),
            Ok(b'\t') => out.extend_from_slice(b"\\t"),
            Ok(0x0c) => out.extend_from_slice(b"\\f"),
            Ok(byte @ (b'=' | b':' | b'#' | b'!' | b'\\')) => out.extend_from_slice(&[b'\\', byte]),
            Ok(byte @ 0x20..=0x7e) => out.push(byte),
            _ => out.extend_from_slice(format!("\\u{unit:04X}").as_bytes()),
        }
    }
}
