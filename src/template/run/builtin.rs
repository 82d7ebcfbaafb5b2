//! The functions: Go's own here, consul-template's in the modules that this one calls.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::template::error::Fault;
use crate::template::output::escape;
use crate::template::output::format;
use crate::template::output::json;
use crate::template::output::print;
use crate::template::output::strings;
use crate::template::output::title;
use crate::template::output::unicode;
use crate::template::run::sink::Sink;
use crate::template::run::value::{GoText, GoValue};
use crate::template::syntax::function::Id;
use crate::template::syntax::number::Number;
use crate::template::yaml::{read, write};

type Made = Result<GoValue, Fault>;

/// A number literal where no type is asked for.
pub(crate) fn constant(number: &Number) -> Made {
    match number {
        Number {
            float: Some(f),
            float_like: true,
            ..
        } => Ok(GoValue::Float(*f)),
        Number { int: Some(i), .. } => Ok(GoValue::Int(*i)),
        _ => Err(Fault::value("the number is too large for an integer")),
    }
}

/// What it costs to read or make a value: a step for 16 bytes, four for an element.
pub(crate) fn cost(value: &GoValue) -> usize {
    match value {
        GoValue::Text(t) | GoValue::Number(t) => t.bytes().len() / 16,
        GoValue::List(l) => l.iter().map(|v| 4 + cost(v)).sum(),
        GoValue::Strings(l) => l.iter().map(|t| 4 + t.bytes().len() / 16).sum(),
        GoValue::Map(m) => m.iter().map(|(k, v)| 4 + k.len() / 16 + cost(v)).sum(),
        GoValue::AnyMap(m) => m.iter().map(|(k, v)| 4 + cost(k) + cost(v)).sum(),
        _ => 0,
    }
}

/// What it costs to compare values: comparisons look at texts, and `contains` at all that a list has.
pub(crate) fn cost_of_comparing(id: Id, arguments: &[GoValue]) -> usize {
    let shallow = |value: &GoValue| match value {
        GoValue::Text(_) | GoValue::Number(_) => cost(value),
        _ => 0,
    };
    match id {
        Id::Contains => arguments.iter().map(cost).sum(),
        Id::Eq | Id::Ne | Id::Lt | Id::Le | Id::Gt | Id::Ge => arguments.iter().map(shallow).sum(),
        _ => 0,
    }
}

/// What it costs to find a key: a map of `parseYAML` is searched from its start.
pub(crate) fn cost_of_finding(item: &GoValue) -> usize {
    match item {
        GoValue::AnyMap(m) => m.len() / 16,
        _ => 0,
    }
}

/// Calls a function with arguments that its parameters allow. No text that it makes is longer than `limit`.
pub(crate) fn call(id: Id, arguments: &[GoValue], limit: usize) -> Made {
    let none = GoValue::Invalid;
    let first = arguments.first().unwrap_or(&none);
    let second = arguments.get(1).unwrap_or(&none);
    let rest = arguments.get(1..).unwrap_or_default();
    match id {
        Id::Not => Ok(GoValue::Bool(!first.truth())),
        Id::Eq => eq(first, rest).map(GoValue::Bool),
        Id::Ne => eq(first, rest).map(|equal| GoValue::Bool(!equal)),
        Id::Lt => less(first, second).map(GoValue::Bool),
        Id::Le => less_or_equal(first, second).map(GoValue::Bool),
        Id::Gt => less_or_equal(first, second).map(|le| GoValue::Bool(!le)),
        Id::Ge => less(first, second).map(|lt| GoValue::Bool(!lt)),
        Id::Slice => slice(first, rest),
        Id::Len => len(first),
        Id::Contains => contains(first, second).map(GoValue::Bool),
        // The evaluator does these.
        Id::And | Id::Or | Id::Index | Id::Secret | Id::PkiCert => Ok(GoValue::Invalid),
        _ => made_text(id, arguments, limit),
    }
}

/// The functions that make a text, a list or a map of texts.
fn made_text(id: Id, arguments: &[GoValue], limit: usize) -> Made {
    let secret = arguments.iter().any(GoValue::is_secret);
    if let Some(whole) = arguments
        .iter()
        .find(|v| matches!(v, GoValue::Secret(_) | GoValue::Certificate(_)))
    {
        return Err(Fault::value(format!("{} is not a text", whole.kind_name()))
            .hint("Name a field, or write .Data, or .Data.data for KV version 2"));
    }
    let mut out = Sink::new(limit);
    match id {
        Id::ParseJson => return parse(arguments, json::parse),
        Id::ParseYaml => return parse(arguments, read::parse),
        Id::Split => return strings::split(text(arguments, 0)?, text(arguments, 1)?),
        Id::Join => strings::join(&mut out, text(arguments, 0)?, arguments.get(1)),
        Id::Html => escape::html(&mut out, &escape::joined(arguments, limit)?),
        Id::Js => escape::js(&mut out, &escape::joined(arguments, limit)?),
        Id::UrlQuery => escape::url_query(&mut out, &escape::joined(arguments, limit)?),
        Id::Print => print::sprint(&mut out, arguments),
        Id::Println => print::sprintln(&mut out, arguments),
        Id::Printf => format::printf(
            &mut out,
            text(arguments, 0)?.bytes(),
            arguments.get(1..).unwrap_or_default(),
        )?,
        Id::ToJson | Id::ToJsonPretty | Id::ToUnescapedJson | Id::ToUnescapedJsonPretty => {
            let pretty = matches!(id, Id::ToJsonPretty | Id::ToUnescapedJsonPretty);
            let escape = matches!(id, Id::ToJson | Id::ToJsonPretty);
            json::write(&mut out, arguments.first().unwrap_or(&GoValue::Null), pretty, escape)?;
        }
        Id::ToYaml => write::write(&mut out, arguments.first().unwrap_or(&GoValue::Null))?,
        Id::Base64Encode | Id::Base64Decode | Id::Base64UrlEncode | Id::Base64UrlDecode => {
            strings::base64(&mut out, id, text(arguments, 0)?.bytes())?
        }
        Id::Trim => out.write(strings::trim(text(arguments, 1)?.bytes(), text(arguments, 0)?.bytes())),
        Id::TrimSpace => out.write(unicode::trim_space(text(arguments, 0)?.bytes())),
        Id::TrimPrefix => {
            let (prefix, all) = (text(arguments, 0)?.bytes(), text(arguments, 1)?.bytes());
            out.write(all.strip_prefix(prefix).unwrap_or(all));
        }
        Id::TrimSuffix => {
            let (suffix, all) = (text(arguments, 0)?.bytes(), text(arguments, 1)?.bytes());
            out.write(all.strip_suffix(suffix).unwrap_or(all));
        }
        Id::ToLower => unicode::map(&mut out, text(arguments, 0)?.bytes(), unicode::to_lower),
        Id::ToUpper => unicode::map(&mut out, text(arguments, 0)?.bytes(), unicode::to_upper),
        Id::ToTitle => title::title(&mut out, text(arguments, 0)?.bytes()),
        Id::ReplaceAll => strings::replace_all(
            &mut out,
            text(arguments, 0)?.bytes(),
            text(arguments, 1)?.bytes(),
            text(arguments, 2)?.bytes(),
        ),
        Id::Indent => strings::indent(&mut out, arguments.first(), text(arguments, 1)?.bytes())?,
        Id::Sha256Hex => strings::sha256_hex(&mut out, text(arguments, 0)?.bytes()),
        _ => {}
    }
    Ok(GoValue::text(out.finish()?, secret))
}

fn text(arguments: &[GoValue], place: usize) -> Result<&GoText, Fault> {
    arguments.get(place).unwrap_or(&GoValue::Invalid).as_text()
}

fn parse(arguments: &[GoValue], parse: fn(&[u8], bool) -> Made) -> Made {
    let text = text(arguments, 0)?;
    if text.bytes().is_empty() {
        return Ok(GoValue::Map(Rc::default()));
    }
    parse(text.bytes(), text.is_secret())
}

/// Go's kinds of values that can be compared.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Basic {
    None,
    Bool,
    Int,
    Uint,
    Float,
    Text,
}

fn basic(value: &GoValue) -> Basic {
    match value {
        GoValue::Bool(_) => Basic::Bool,
        GoValue::Int(_) => Basic::Int,
        GoValue::Byte(_) | GoValue::Uint(_) => Basic::Uint,
        GoValue::Float(_) => Basic::Float,
        GoValue::Number(_) | GoValue::Text(_) => Basic::Text,
        _ => Basic::None,
    }
}

/// An integer of any kind, so that signed and unsigned compare.
fn integer(value: &GoValue) -> Option<i128> {
    match value {
        GoValue::Int(i) => Some(i128::from(*i)),
        GoValue::Byte(b) => Some(i128::from(*b)),
        GoValue::Uint(u) => Some(i128::from(*u)),
        _ => None,
    }
}

fn incompatible(a: &GoValue, b: &GoValue) -> Fault {
    let problem = Fault::value(format!("{} and {} cannot be compared", a.kind_name(), b.kind_name()));
    match (a, b) {
        (GoValue::Number(_), _) | (_, GoValue::Number(_)) => {
            problem.hint("Numbers of a secret are texts: write \"5432\" in quotes")
        }
        _ => problem,
    }
}

fn eq(first: &GoValue, rest: &[GoValue]) -> Result<bool, Fault> {
    if rest.is_empty() {
        return Err(Fault::value("there is nothing to compare with"));
    }
    for other in rest {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(a: &GoValue, b: &GoValue) -> Result<bool, Fault> {
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return Ok(a == b);
    }
    if basic(a) != basic(b) {
        return if a.is_nil() || b.is_nil() {
            Ok(false)
        } else {
            Err(incompatible(a, b))
        };
    }
    match (a, b) {
        (GoValue::Bool(a), GoValue::Bool(b)) => Ok(a == b),
        (GoValue::Float(a), GoValue::Float(b)) => Ok(a == b),
        (GoValue::Text(a) | GoValue::Number(a), GoValue::Text(b) | GoValue::Number(b)) => Ok(a.bytes() == b.bytes()),
        _ if a.is_nil() || b.is_nil() => Ok(a.is_nil() && b.is_nil()),
        (GoValue::Secret(a), GoValue::Secret(b)) => Ok(Rc::ptr_eq(a, b)),
        (GoValue::Certificate(a), GoValue::Certificate(b)) => {
            Ok([(&a.cert, &b.cert), (&a.key, &b.key), (&a.ca, &b.ca)]
                .iter()
                .all(|(a, b)| a.bytes() == b.bytes()))
        }
        _ => Err(incompatible(a, b)),
    }
}

fn less(a: &GoValue, b: &GoValue) -> Result<bool, Fault> {
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return Ok(a < b);
    }
    match (a, b) {
        (GoValue::Float(a), GoValue::Float(b)) => Ok(a < b),
        (GoValue::Text(a) | GoValue::Number(a), GoValue::Text(b) | GoValue::Number(b)) => {
            Ok(a.bytes().cmp(b.bytes()) == Ordering::Less)
        }
        _ => Err(incompatible(a, b)),
    }
}

fn less_or_equal(a: &GoValue, b: &GoValue) -> Result<bool, Fault> {
    Ok(less(a, b)? || equal(a, b)?)
}

/// Go's `index` with one index. A missing key of a map gives nothing, a missing element of a list is an error.
pub(crate) fn index(item: &GoValue, index: &GoValue) -> Made {
    Ok(match item {
        GoValue::Null | GoValue::Invalid => {
            return Err(Fault::missing("index of a value that is missing or null"));
        }
        GoValue::List(l) => l.get(place(index, l.len())?).cloned().ok_or_else(out_of_range)?,
        GoValue::Strings(l) => l
            .get(place(index, l.len())?)
            .map(|t| GoValue::Text(t.clone()))
            .ok_or_else(out_of_range)?,
        GoValue::Text(t) | GoValue::Number(t) => t
            .bytes()
            .get(place(index, t.bytes().len())?)
            .map(|b| GoValue::Byte(*b))
            .ok_or_else(out_of_range)?,
        GoValue::Map(m) => match index {
            GoValue::Text(key) => std::str::from_utf8(key.bytes())
                .ok()
                .and_then(|k| m.get(k))
                .cloned()
                .unwrap_or(GoValue::Null),
            other => {
                return Err(Fault::value(format!(
                    "the key of a map is a string, not {}",
                    other.kind_name()
                )));
            }
        },
        GoValue::AnyMap(m) => m
            .iter()
            .find(|(k, _)| basic(k) == basic(index) && equal(k, index).unwrap_or(false))
            .map_or(GoValue::Null, |(_, v)| v.clone()),
        other => {
            return Err(Fault::value(format!("{} has no elements", other.kind_name())));
        }
    })
}

fn out_of_range() -> Fault {
    Fault::missing("the index is past the end")
}

/// An index of a list or a string: an integer from 0 to its length.
fn place(index: &GoValue, length: usize) -> Result<usize, Fault> {
    let number =
        integer(index).ok_or_else(|| Fault::value(format!("an index is an integer, not {}", index.kind_name())))?;
    usize::try_from(number)
        .ok()
        .filter(|i| *i <= length)
        .ok_or_else(out_of_range)
}

fn slice(item: &GoValue, indexes: &[GoValue]) -> Made {
    let length = match item {
        GoValue::Text(t) | GoValue::Number(t) => t.bytes().len(),
        GoValue::List(l) => l.len(),
        GoValue::Strings(l) => l.len(),
        other => {
            return Err(Fault::value(format!("{} cannot be sliced", other.kind_name())));
        }
    };
    let is_text = matches!(item, GoValue::Text(_) | GoValue::Number(_));
    if indexes.len() > if is_text { 2 } else { 3 } {
        return Err(Fault::value("slice has too many indexes"));
    }
    let mut places = Vec::with_capacity(3);
    for index in indexes {
        places.push(place(index, length)?);
    }
    let from = places.first().copied().unwrap_or(0);
    let to = places.get(1).copied().unwrap_or(length);
    if from > to || places.get(2).is_some_and(|max| to > *max) {
        return Err(Fault::value("slice: an index is larger than the one after it"));
    }
    Ok(match item {
        GoValue::Text(t) => GoValue::text(t.bytes().get(from..to).unwrap_or_default(), t.is_secret()),
        GoValue::Number(t) => GoValue::Number(GoText::new(t.bytes().get(from..to).unwrap_or_default(), t.is_secret())),
        GoValue::List(l) => GoValue::List(Rc::new(l.get(from..to).unwrap_or_default().to_vec())),
        GoValue::Strings(l) => GoValue::Strings(Rc::new(l.get(from..to).unwrap_or_default().to_vec())),
        _ => GoValue::Invalid,
    })
}

fn len(item: &GoValue) -> Made {
    let length = match item {
        GoValue::Text(t) | GoValue::Number(t) => t.bytes().len(),
        GoValue::List(l) => l.len(),
        GoValue::Strings(l) => l.len(),
        GoValue::Map(m) => m.len(),
        GoValue::AnyMap(m) => m.len(),
        other => {
            return Err(Fault::value(format!("{} has no length", other.kind_name())));
        }
    };
    Ok(GoValue::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// Whether a list has an element, or a text a part: consul-template's `contains`. The types must be the same.
fn contains(value: &GoValue, list: &GoValue) -> Result<bool, Fault> {
    match list {
        GoValue::List(l) => {
            for element in l.iter() {
                if same(value, element)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        GoValue::Strings(l) if !l.is_empty() => {
            not_nil(value)?;
            Ok(matches!(value, GoValue::Text(v) if l.iter().any(|t| t.bytes() == v.bytes())))
        }
        GoValue::Text(t) | GoValue::Number(t) => {
            not_nil(value)?;
            match (value, list) {
                (GoValue::Text(v), GoValue::Text(_)) | (GoValue::Number(v), GoValue::Number(_)) => {
                    Ok(strings::contains(t.bytes(), v.bytes()))
                }
                _ => Ok(false),
            }
        }
        _ => Ok(false),
    }
}

/// consul-template panics where it compares nothing with a text.
fn not_nil(value: &GoValue) -> Result<(), Fault> {
    if value.is_nil() {
        Err(Fault::missing("contains is asked for a value that is missing or null"))
    } else {
        Ok(())
    }
}

fn same(a: &GoValue, b: &GoValue) -> Result<bool, Fault> {
    match (a, b) {
        (_, GoValue::Text(_) | GoValue::Number(_)) if a.is_nil() => not_nil(a).map(|()| false),
        (GoValue::Int(a), GoValue::Int(b)) => Ok(a == b),
        (GoValue::Float(a), GoValue::Float(b)) => Ok(a == b),
        (GoValue::Text(a), GoValue::Text(b)) | (GoValue::Number(a), GoValue::Number(b)) => Ok(a.bytes() == b.bytes()),
        _ => Ok(false),
    }
}
