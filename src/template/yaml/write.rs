//! `toYAML`: writes YAML as yaml.v2 does, byte for byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::template::error::Fault;
use crate::template::output::float;
use crate::template::output::unicode::trim_space;
use crate::template::run::sink::Sink;
use crate::template::run::value::GoValue;
use crate::template::yaml::emit::{Emitter, Scalar, Style, Where};
use crate::template::yaml::order;
use crate::template::yaml::scalar;

/// A mapping's key and value.
type Entry<'a> = (GoValue, &'a GoValue);

/// Writes a value without its last line break.
pub(crate) fn write(out: &mut Sink, value: &GoValue) -> Result<(), Fault> {
    let mut emitter = Emitter::new(Sink::new(out.limit()));
    node(&mut emitter, value, Where::Root, None)?;
    emitter.end();
    let bytes = emitter.finish()?;
    out.write(trim_space(&bytes));
    Ok(())
}

/// Writes a value. `indent` is the indent of the block around the value.
fn node(emitter: &mut Emitter, value: &GoValue, place: Where, indent: Option<usize>) -> Result<(), Fault> {
    match value {
        GoValue::Map(map) => mapping(
            emitter,
            map.iter()
                .map(|(k, v)| (GoValue::text(k.as_bytes(), false), v))
                .collect(),
            place,
            indent,
        ),
        GoValue::AnyMap(map) => mapping(
            emitter,
            map.iter().map(|(k, v)| (k.clone(), v)).collect(),
            place,
            indent,
        ),
        GoValue::List(list) => sequence(emitter, &list.iter().collect::<Vec<_>>(), place, indent),
        GoValue::Strings(list) => {
            let list: Vec<GoValue> = list.iter().map(|t| GoValue::Text(t.clone())).collect();
            sequence(emitter, &list.iter().collect::<Vec<_>>(), place, indent)
        }
        value => {
            let scalar = scalar(value)?;
            emitter.scalar(&scalar, place, indent);
            Ok(())
        }
    }
}

fn mapping(emitter: &mut Emitter, entries: Vec<Entry<'_>>, place: Where, indent: Option<usize>) -> Result<(), Fault> {
    if entries.is_empty() {
        emitter.empty("{}", place);
        return Ok(());
    }
    let inner = indent.map_or(0, |i| i + 2);
    for (key, value) in order::sort(entries) {
        emitter.line(inner);
        let key = scalar(&key)?;
        if key.is_simple() {
            emitter.scalar(&key, Where::Key, Some(inner));
            emitter.indicator(":", false, false, false);
            node(emitter, value, Where::Value, Some(inner))?;
        } else {
            emitter.indicator("?", true, false, true);
            emitter.scalar(&key, Where::Value, Some(inner));
            emitter.line(inner);
            emitter.indicator(":", true, false, true);
            node(emitter, value, Where::Value, Some(inner))?;
        }
        if emitter.full() {
            break;
        }
    }
    Ok(())
}

fn sequence(emitter: &mut Emitter, list: &[&GoValue], place: Where, indent: Option<usize>) -> Result<(), Fault> {
    if list.is_empty() {
        emitter.empty("[]", place);
        return Ok(());
    }
    // A list in a mapping is not indented, unless it is the value of a key that has a line of its own.
    let indentless = place == Where::Value && !emitter.at_indention();
    let inner = match indent {
        None => 0,
        Some(indent) if indentless => indent,
        Some(indent) => indent + 2,
    };
    for value in list {
        emitter.line(inner);
        emitter.indicator("-", true, false, true);
        node(emitter, value, Where::Item, Some(inner))?;
        if emitter.full() {
            break;
        }
    }
    Ok(())
}

/// The text of a value that is no list or mapping, and how it would like to be written.
fn scalar(value: &GoValue) -> Result<Scalar, Fault> {
    let plain = |text: String| Ok(Scalar::new(text, Style::Plain, false));
    match value {
        GoValue::Invalid | GoValue::Null => plain("null".to_owned()),
        GoValue::Bool(b) => plain(b.to_string()),
        GoValue::Int(i) => plain(i.to_string()),
        GoValue::Byte(b) => plain(b.to_string()),
        GoValue::Uint(u) => plain(u.to_string()),
        GoValue::Float(f) => plain(number(*f)),
        GoValue::Number(n) => {
            let text = String::from_utf8_lossy(n.bytes());
            match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(i), _) => plain(i.to_string()),
                (_, Ok(f)) if f.is_finite() => plain(number(f)),
                _ => Ok(string(n.bytes())),
            }
        }
        GoValue::Text(t) => Ok(string(t.bytes())),
        other => Err(Fault::value(format!("{} is not written as YAML", other.kind_name()))
            .hint("Write {{ toYAML .Data }}, or {{ toYAML .Data.data }} for KV version 2")),
    }
}

fn number(value: f64) -> String {
    match float::format(value, 'g', None) {
        text if text == "+Inf" => ".inf".to_owned(),
        text if text == "-Inf" => "-.inf".to_owned(),
        text if text == "NaN" => ".nan".to_owned(),
        text => text,
    }
}

fn string(bytes: &[u8]) -> Scalar {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let text = wrapped(&STANDARD.encode(bytes));
        let style = if text.contains('\n') {
            Style::Literal
        } else {
            Style::Plain
        };
        return Scalar::new(text, style, true);
    };
    let style = if text.contains('\n') {
        Style::Literal
    } else if scalar::needs_quotes(text) {
        Style::Double
    } else {
        Style::Plain
    };
    Scalar::new(text.to_owned(), style, false)
}

/// base64. A longer text than 70 characters is written in lines of 70.
fn wrapped(text: &str) -> String {
    if text.len() < 70 {
        return text.to_owned();
    }
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i > 0 && i % 70 == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push('\n');
    out
}
