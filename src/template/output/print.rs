//! Prints values as Go's fmt does.

use crate::template::output::float;
use crate::template::output::quote::{can_backquote, quote};
use crate::template::output::unicode::chars;
use crate::template::run::sink::Sink;
use crate::template::run::value::{GoText, GoValue};

/// The flags of one verb.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) minus: bool,
    pub(crate) plus: bool,
    pub(crate) sharp: bool,
    pub(crate) space: bool,
    pub(crate) zero: bool,
    /// `%#v`
    pub(crate) go_syntax: bool,
    pub(crate) width: Option<usize>,
    pub(crate) precision: Option<usize>,
}

/// `%v` of a value.
pub(crate) fn plain(out: &mut Sink, value: &GoValue) {
    verb(out, value, 'v', Flags::default());
}

/// Go's `Sprint`: a space between two values neither of which is a text.
pub(crate) fn sprint(out: &mut Sink, values: &[GoValue]) {
    let mut before_is_text = true;
    for (i, value) in values.iter().enumerate() {
        let is_text = matches!(value, GoValue::Text(_) | GoValue::Number(_));
        if i > 0 && !is_text && !before_is_text {
            out.push(b' ');
        }
        plain(out, value);
        before_is_text = is_text;
    }
}

/// Go's `Sprintln`.
pub(crate) fn sprintln(out: &mut Sink, values: &[GoValue]) {
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        plain(out, value);
    }
    out.push(b'\n');
}

/// Prints a value with a verb.
pub(crate) fn verb(out: &mut Sink, value: &GoValue, verb: char, flags: Flags) {
    if verb == 'T' {
        let name = if value.is_nil() { "<nil>" } else { value.type_name() };
        return string(out, name.as_bytes(), flags);
    }
    match value {
        GoValue::Invalid | GoValue::Null if verb == 'v' => pad(out, b"<nil>", flags),
        GoValue::Invalid | GoValue::Null => out.str(&format!("%!{verb}(<nil>)")),
        other => inner(out, other, verb, flags, 0),
    }
}

fn inner(out: &mut Sink, value: &GoValue, verb: char, flags: Flags, depth: usize) {
    match value {
        GoValue::Invalid | GoValue::Null if flags.go_syntax => out.str("interface {}(nil)"),
        GoValue::Invalid | GoValue::Null => out.str("<nil>"),
        GoValue::Bool(b) => match verb {
            't' | 'v' => string(
                out,
                if *b { b"true" } else { b"false" },
                Flags {
                    precision: None,
                    ..flags
                },
            ),
            _ => bad(out, value, verb, flags),
        },
        GoValue::Int(i) => integer(out, value, (i.unsigned_abs(), *i < 0), verb, flags),
        GoValue::Byte(b) => integer(out, value, (u64::from(*b), false), verb, flags),
        GoValue::Uint(u) => integer(out, value, (*u, false), verb, flags),
        GoValue::Float(f) => number(out, value, *f, verb, flags),
        GoValue::Number(t) | GoValue::Text(t) => text(out, value, t, verb, flags),
        GoValue::List(l) => list(out, value, l.iter(), flags, &mut |out, v| {
            inner(out, v, verb, flags, depth + 1)
        }),
        GoValue::Strings(l) => list(out, value, l.iter(), flags, &mut |out, t: &GoText| {
            text(out, &GoValue::Text(t.clone()), t, verb, flags)
        }),
        GoValue::Map(m) => map(
            out,
            value,
            m.iter().map(|(k, v)| (GoValue::text(k.as_bytes(), false), v)),
            verb,
            flags,
            depth,
        ),
        GoValue::AnyMap(m) => map(out, value, m.iter().map(|(k, v)| (k.clone(), v)), verb, flags, depth),
        GoValue::Secret(_) | GoValue::Certificate(_) => out.str(value.kind_name()),
    }
}

fn list<T>(
    out: &mut Sink,
    value: &GoValue,
    elements: impl Iterator<Item = T>,
    flags: Flags,
    each: &mut dyn FnMut(&mut Sink, T),
) {
    if flags.go_syntax {
        out.str(value.type_name());
    }
    out.push(if flags.go_syntax { b'{' } else { b'[' });
    for (i, element) in elements.enumerate() {
        if i > 0 {
            out.str(if flags.go_syntax { ", " } else { " " });
        }
        each(out, element);
    }
    out.push(if flags.go_syntax { b'}' } else { b']' });
}

fn map<'a>(
    out: &mut Sink,
    value: &GoValue,
    entries: impl Iterator<Item = (GoValue, &'a GoValue)>,
    verb: char,
    flags: Flags,
    depth: usize,
) {
    if flags.go_syntax {
        out.str(value.type_name());
        out.push(b'{');
    } else {
        out.str("map[");
    }
    for (i, (key, element)) in entries.enumerate() {
        if i > 0 {
            out.str(if flags.go_syntax { ", " } else { " " });
        }
        inner(out, &key, verb, flags, depth + 1);
        out.push(b':');
        inner(out, element, verb, flags, depth + 1);
    }
    out.push(if flags.go_syntax { b'}' } else { b']' });
}

/// What Go prints when a verb does not fit: `%!d(string=x)`.
fn bad(out: &mut Sink, value: &GoValue, verb: char, flags: Flags) {
    out.str(&format!("%!{verb}({}=", value.type_name()));
    inner(out, value, 'v', flags, 0);
    out.push(b')');
}

fn text(out: &mut Sink, value: &GoValue, text: &GoText, verb: char, flags: Flags) {
    let bytes = text.bytes();
    match verb {
        'v' if flags.go_syntax => quoted(out, bytes, flags),
        'v' | 's' => string(out, bytes, flags),
        'q' => quoted(out, bytes, flags),
        'x' => hex(out, bytes, flags, b"0123456789abcdefx"),
        'X' => hex(out, bytes, flags, b"0123456789ABCDEFX"),
        _ => bad(out, value, verb, flags),
    }
}

fn truncate(bytes: &[u8], flags: Flags) -> &[u8] {
    let Some(precision) = flags.precision else {
        return bytes;
    };
    let end: usize = chars(bytes).take(precision).map(|(_, width)| width).sum();
    bytes.get(..end).unwrap_or(bytes)
}

/// A text with its precision and width.
fn string(out: &mut Sink, bytes: &[u8], flags: Flags) {
    pad(out, truncate(bytes, flags), flags);
}

fn quoted(out: &mut Sink, bytes: &[u8], flags: Flags) {
    let bytes = truncate(bytes, flags);
    let mut text = Sink::new(out.limit());
    if flags.sharp && can_backquote(bytes) {
        text.push(b'`');
        text.write(bytes);
        text.push(b'`');
    } else {
        quote(&mut text, bytes, '"', flags.plus);
    }
    pad(out, text.bytes(), flags);
}

/// Fills up to the width: with spaces, or with zeros in front.
pub(crate) fn pad(out: &mut Sink, bytes: &[u8], flags: Flags) {
    let length = chars(bytes).count();
    let fill = flags.width.unwrap_or(0).saturating_sub(length);
    if flags.minus {
        out.write(bytes);
        out.repeat(b' ', fill);
    } else {
        out.repeat(if flags.zero { b'0' } else { b' ' }, fill);
        out.write(bytes);
    }
}

fn hex(out: &mut Sink, bytes: &[u8], flags: Flags, digits: &[u8; 17]) {
    let bytes = bytes
        .get(..flags.precision.unwrap_or(bytes.len()).min(bytes.len()))
        .unwrap_or(bytes);
    let mut text = Sink::new(out.limit());
    for (i, byte) in bytes.iter().enumerate() {
        if flags.space && i > 0 {
            text.push(b' ');
        }
        if flags.sharp && (i == 0 || flags.space) {
            text.push(b'0');
            text.push(digits[16]);
        }
        text.push(digits[usize::from(byte >> 4)]);
        text.push(digits[usize::from(byte & 15)]);
    }
    pad(out, text.bytes(), flags);
}

/// An integer, given as its size and its sign.
fn integer(out: &mut Sink, value: &GoValue, (size, negative): (u64, bool), verb: char, flags: Flags) {
    let digits = match verb {
        'v' if flags.go_syntax && !matches!(value, GoValue::Int(_)) => {
            return integer(
                out,
                value,
                (size, negative),
                'x',
                Flags {
                    sharp: true,
                    go_syntax: false,
                    ..flags
                },
            );
        }
        'v' | 'd' => size.to_string(),
        'b' => format!("{size:b}"),
        'o' | 'O' => format!("{size:o}"),
        'x' => format!("{size:x}"),
        'X' => format!("{size:X}"),
        'c' | 'q' | 'U' => {
            return character(out, if negative { size.wrapping_neg() } else { size }, verb, flags);
        }
        _ => return bad(out, value, verb, flags),
    };
    if flags.precision == Some(0) && size == 0 {
        return pad(out, b"", Flags { zero: false, ..flags });
    }
    let mut sign = if negative { "-" } else { "" };
    if !negative && (flags.plus || flags.space) {
        sign = if flags.plus { "+" } else { " " };
    }
    let mut least = flags.precision.unwrap_or(0);
    if let (None, Some(width), true, false) = (flags.precision, flags.width, flags.zero, flags.minus) {
        least = width.saturating_sub(usize::from(!sign.is_empty()));
    }
    let mut text = Sink::new(out.limit());
    let zeros = least.saturating_sub(digits.len());
    text.str(sign);
    match verb {
        'O' => text.str("0o"),
        'x' if flags.sharp => text.str("0x"),
        'X' if flags.sharp => text.str("0X"),
        'b' if flags.sharp => text.str("0b"),
        'o' if flags.sharp && zeros == 0 && !digits.starts_with('0') => text.str("0"),
        _ => {}
    }
    text.repeat(b'0', zeros);
    text.str(&digits);
    pad(out, text.bytes(), Flags { zero: false, ..flags });
}

fn character(out: &mut Sink, code: u64, verb: char, flags: Flags) {
    let c = u32::try_from(code).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    match verb {
        'c' => pad(out, c.encode_utf8(&mut [0; 4]).as_bytes(), flags),
        'q' => {
            let mut text = Sink::new(64);
            quote(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes(), '\'', flags.plus);
            pad(out, text.bytes(), flags);
        }
        _ => {
            let least = flags.precision.unwrap_or(4).max(4).min(out.limit());
            let digits = format!("{code:X}");
            let zeros = "0".repeat(least.saturating_sub(digits.len()));
            let mut text = format!("U+{zeros}{digits}");
            if flags.sharp && code <= 0x10_ffff && crate::template::output::unicode::is_print(c) {
                text.push_str(&format!(" '{c}'"));
            }
            pad(out, text.as_bytes(), Flags { zero: false, ..flags });
        }
    }
}

fn number(out: &mut Sink, value: &GoValue, float: f64, verb: char, flags: Flags) {
    let text = match verb {
        'v' => float::format(float, 'g', flags.precision),
        'g' | 'G' => float::format(float, verb, flags.precision),
        'e' | 'E' => float::format(float, verb, Some(flags.precision.unwrap_or(6))),
        'f' | 'F' => float::format(float, 'f', Some(flags.precision.unwrap_or(6))),
        'x' => float::hexadecimal(float, flags.precision),
        'X' => float::hexadecimal(float, flags.precision)
            .to_uppercase()
            .replace("INF", "Inf")
            .replace("NAN", "NaN"),
        'b' => float::binary(float),
        _ => return bad(out, value, verb, flags),
    };
    let text = if flags.sharp && verb != 'b' && float.is_finite() {
        float::sharp(&text, verb, flags.precision)
    } else {
        text
    };
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (&text[..1], digits),
        None => ("+", text.as_str()),
    };
    let finite = !digits.starts_with(['I', 'N']);
    let shown = match sign {
        "-" => "-",
        _ if flags.plus => "+",
        _ if flags.space => " ",
        _ if digits.starts_with('I') => "+",
        _ => "",
    };
    let zeros = flags.zero && !flags.minus && finite;
    if zeros && !shown.is_empty() && flags.width.unwrap_or(0) > digits.len() + 1 {
        out.str(shown);
        out.repeat(b'0', flags.width.unwrap_or(0) - digits.len() - 1);
        return out.str(digits);
    }
    pad(
        out,
        format!("{shown}{digits}").as_bytes(),
        Flags { zero: zeros, ..flags },
    );
}
