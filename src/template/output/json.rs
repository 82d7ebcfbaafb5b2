//! Reads and writes JSON as Go's encoding/json does: <https://pkg.go.dev/encoding/json>.

use std::rc::Rc;

use crate::template::error::{ErrorKind, Fault};
use crate::template::output::float;
use crate::template::output::unicode::decode;
use crate::template::run::sink::Sink;
use crate::template::run::value::GoMap;
use crate::template::run::value::{GoText, GoValue};

/// How deep values may be in each other.
const MAX_DEPTH: usize = 64;
/// The most values of one text: a value weighs up to 50 times as much as its text.
const MAX_VALUES: usize = 250_000;

struct JsonReader<'a> {
    text: &'a [u8],
    at: usize,
    /// Numbers stay text; else they become floats.
    keep_numbers: bool,
    secret: bool,
    values: usize,
}

/// Reads a server's answer, and counts its values: its numbers stay as they are written, its values are secret. None: the answer is
/// not an object.
pub(crate) fn answer(text: &[u8]) -> Result<Option<(Rc<GoMap>, usize)>, String> {
    let mut reader = JsonReader::new(text, true, true);
    Ok(match reader.whole()? {
        GoValue::Map(map) => Some((map, reader.values)),
        _ => None,
    })
}

/// `parseJSON`: its numbers become floats.
pub(crate) fn parse(text: &[u8], secret: bool) -> Result<GoValue, Fault> {
    let mut reader = JsonReader::new(text, false, secret);
    reader.whole().map_err(|message| {
        let kind = match reader.values > MAX_VALUES {
            true => ErrorKind::Bound,
            false => ErrorKind::Value,
        };
        Fault::new(kind, format!("parseJSON: {message}"))
    })
}

impl<'a> JsonReader<'a> {
    fn new(text: &'a [u8], keep_numbers: bool, secret: bool) -> Self {
        Self {
            text,
            at: 0,
            keep_numbers,
            secret,
            values: 0,
        }
    }

    /// Reads a value that nothing follows.
    fn whole(&mut self) -> Result<GoValue, String> {
        let value = self.value(0)?;
        self.space();
        if self.at < self.text.len() {
            return self.fail("nothing more");
        }
        Ok(value)
    }

    fn fail<T>(&self, expected: &str) -> Result<T, String> {
        Err(format!(
            "the text is not JSON at byte {}: expected {expected}",
            self.at + 1
        ))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<GoValue, String> {
        if depth > MAX_DEPTH {
            return Err(format!("the JSON is more than {MAX_DEPTH} values deep"));
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(format!("the JSON has more than {MAX_VALUES} values"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(GoValue::text(self.string()?, self.secret)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in [
                    ("true", GoValue::Bool(true)),
                    ("false", GoValue::Bool(false)),
                    ("null", GoValue::Null),
                ] {
                    if self.text.get(self.at..).is_some_and(|t| t.starts_with(word.as_bytes())) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                self.fail("a value")
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<GoValue, String> {
        self.at += 1;
        let mut entries = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(GoValue::Map(Rc::new(GoMap::new(
                entries,
                self.secret && !self.keep_numbers,
            ))));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.fail("a name");
            }
            let key = self.string()?;
            self.space();
            if !self.take(b':') {
                return self.fail(":");
            }
            let value = self.value(depth + 1)?;
            entries.push((key.into_boxed_str(), value));
            self.space();
            if self.take(b'}') {
                return Ok(GoValue::Map(Rc::new(GoMap::new(
                    entries,
                    self.secret && !self.keep_numbers,
                ))));
            }
            if !self.take(b',') {
                return self.fail(", or }");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<GoValue, String> {
        self.at += 1;
        let mut list = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(GoValue::List(Rc::new(list)));
        }
        loop {
            list.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(GoValue::List(Rc::new(list)));
            }
            if !self.take(b',') {
                return self.fail(", or ]");
            }
        }
    }

    fn number(&mut self) -> Result<GoValue, String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = number_length(rest);
        let text = rest
            .get(..length)
            .and_then(|n| std::str::from_utf8(n).ok())
            .filter(|n| !n.is_empty());
        let Some(text) = text else {
            return self.fail("a number");
        };
        if self.keep_numbers {
            self.at += length;
            return Ok(GoValue::Number(GoText::new(text, self.secret)));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => {
                self.at += length;
                Ok(GoValue::Float(number))
            }
            _ => self.fail("a smaller number"),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            match self.peek() {
                None | Some(0..0x20) => return self.fail("the end of the string"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => {
                    let (c, width) = decode(self.text.get(self.at..).unwrap_or_default());
                    out.push(c);
                    self.at += width;
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let c = self.peek();
        self.at += 1;
        Ok(match c {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return self.fail("an escape"),
        })
    }

    fn unicode(&mut self) -> Result<char, String> {
        let Some(high) = self.hex(self.at) else {
            return self.fail("four hexadecimal digits");
        };
        self.at += 4;
        if let Some(c) = char::from_u32(high) {
            return Ok(c);
        }
        let follows = self.text.get(self.at..).is_some_and(|t| t.starts_with(b"\\u"));
        if let (true, 0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) = (follows, high, self.hex(self.at + 2)) {
            self.at += 6;
            return Ok(char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).unwrap_or('\u{fffd}'));
        }
        Ok('\u{fffd}')
    }

    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self
            .text
            .get(at..at + 4)
            .filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

/// How many bytes at the start are a JSON number; 0: none.
fn number_length(text: &[u8]) -> usize {
    let digits = |from: usize| {
        text.get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 {
        return 0;
    }
    at += if text.get(at) == Some(&b'0') { 1 } else { whole };
    if text.get(at) == Some(&b'.') {
        let part = digits(at + 1);
        if part == 0 {
            return 0;
        }
        at += 1 + part;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let part = digits(at + 1 + sign);
        if part == 0 {
            return 0;
        }
        at += 1 + sign + part;
    }
    at
}

/// How JSON is written.
#[derive(Clone, Copy)]
struct JsonStyle {
    pretty: bool,
    /// Whether `<`, `>` and `&` are escaped.
    html: bool,
}

/// Writes a value.
pub(crate) fn write(out: &mut Sink, value: &GoValue, pretty: bool, html: bool) -> Result<(), Fault> {
    write_value(out, value, JsonStyle { pretty, html }, 0)
}

fn write_value(out: &mut Sink, value: &GoValue, style: JsonStyle, depth: usize) -> Result<(), Fault> {
    match value {
        GoValue::Invalid | GoValue::Null => out.str("null"),
        GoValue::Bool(b) => out.str(if *b { "true" } else { "false" }),
        GoValue::Int(i) => out.str(&i.to_string()),
        GoValue::Byte(b) => out.str(&b.to_string()),
        GoValue::Uint(u) => out.str(&u.to_string()),
        GoValue::Float(f) if f.is_finite() => out.str(&float::json(*f)),
        GoValue::Number(n) if n.bytes().is_empty() => out.push(b'0'),
        GoValue::Number(n) if number_length(n.bytes()) == n.bytes().len() => out.write(n.bytes()),
        GoValue::Float(_) | GoValue::Number(_) => {
            return Err(Fault::value("JSON has no such number: it is infinite, or not a number"));
        }
        GoValue::Text(t) => write_string(out, t.bytes(), style.html),
        GoValue::List(l) => write_items(out, (b'[', b']'), l.iter(), style, depth, |out, v| {
            write_value(out, v, style, depth + 1)
        })?,
        GoValue::Strings(l) => write_items(out, (b'[', b']'), l.iter(), style, depth, |out, t: &GoText| {
            write_string(out, t.bytes(), style.html);
            Ok(())
        })?,
        GoValue::Map(m) => write_items(out, (b'{', b'}'), m.iter(), style, depth, |out, (k, v)| {
            write_string(out, k.as_bytes(), style.html);
            out.str(if style.pretty { ": " } else { ":" });
            write_value(out, v, style, depth + 1)
        })?,
        GoValue::AnyMap(m) => {
            let mut entries = m
                .iter()
                .map(|(k, v)| Ok((any_key(k)?, v)))
                .collect::<Result<Vec<_>, Fault>>()?;
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            write_items(out, (b'{', b'}'), entries.into_iter(), style, depth, |out, (k, v)| {
                write_string(out, &k, style.html);
                out.str(if style.pretty { ": " } else { ":" });
                write_value(out, v, style, depth + 1)
            })?;
        }
        GoValue::Secret(_) | GoValue::Certificate(_) => {
            return Err(Fault::value(format!("{} is not written as JSON", value.kind_name()))
                .hint("Write {{ toJSON .Data }}, or {{ toJSON .Data.data }} for KV version 2"));
        }
    }
    Ok(())
}

/// The name of a key that parseYAML made: a text or an integer.
fn any_key(key: &GoValue) -> Result<Vec<u8>, Fault> {
    match key {
        GoValue::Text(t) => Ok(t.bytes().to_vec()),
        GoValue::Int(i) => Ok(i.to_string().into_bytes()),
        GoValue::Uint(u) => Ok(u.to_string().into_bytes()),
        other => Err(Fault::value(format!(
            "a key is {}, which JSON does not have",
            other.kind_name()
        ))),
    }
}

fn write_items<T>(
    out: &mut Sink,
    (open, close): (u8, u8),
    items: impl ExactSizeIterator<Item = T>,
    style: JsonStyle,
    depth: usize,
    mut each: impl FnMut(&mut Sink, T) -> Result<(), Fault>,
) -> Result<(), Fault> {
    out.push(open);
    let some = items.len() > 0;
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        break_line(out, style, depth + 1);
        each(out, item)?;
        if out.full() {
            return Ok(());
        }
    }
    if some {
        break_line(out, style, depth);
    }
    out.push(close);
    Ok(())
}

fn break_line(out: &mut Sink, style: JsonStyle, depth: usize) {
    if style.pretty {
        out.push(b'\n');
        out.repeat(b' ', depth * 2);
    }
}

fn write_string(out: &mut Sink, text: &[u8], html: bool) {
    out.push(b'"');
    let mut rest = text;
    while !rest.is_empty() {
        let (c, width) = decode(rest);
        match c {
            '"' => out.str("\\\""),
            '\\' => out.str("\\\\"),
            '\u{8}' => out.str("\\b"),
            '\u{c}' => out.str("\\f"),
            '\n' => out.str("\\n"),
            '\r' => out.str("\\r"),
            '\t' => out.str("\\t"),
            // Go 1.27 writes the character; before, it wrote an escape.
            '\u{fffd}' if width == 1 => out.char(c),
            '\u{2028}' | '\u{2029}' => out.str(&format!("\\u{:04x}", u32::from(c))),
            '<' | '>' | '&' if html => out.str(&format!("\\u{:04x}", u32::from(c))),
            c if c < ' ' => out.str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.write(rest.get(..width).unwrap_or_default()),
        }
        rest = rest.get(width..).unwrap_or_default();
    }
    out.push(b'"');
}
