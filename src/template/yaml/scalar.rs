//! What YAML 1.1 makes of a plain text: yaml.v2's rules.

use crate::template::run::value::{GoText, GoValue};

/// The words that are no texts.
const TRUE: [&str; 11] = ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];
const FALSE: [&str; 11] = [
    "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF",
];
const NULL: [&str; 5] = ["", "~", "null", "Null", "NULL"];
const INFINITE: [&str; 6] = [".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"];
const NEGATIVE: [&str; 3] = ["-.inf", "-.Inf", "-.INF"];
const NOT_A_NUMBER: [&str; 3] = [".nan", ".NaN", ".NAN"];

/// The value of a plain scalar. None: the scalar is a text. (A time is a text for yaml.v2.)
pub(crate) fn value(text: &str) -> Option<GoValue> {
    if TRUE.contains(&text) {
        return Some(GoValue::Bool(true));
    }
    if FALSE.contains(&text) {
        return Some(GoValue::Bool(false));
    }
    if NULL.contains(&text) {
        return Some(GoValue::Null);
    }
    if INFINITE.contains(&text) {
        return Some(GoValue::Float(f64::INFINITY));
    }
    if NEGATIVE.contains(&text) {
        return Some(GoValue::Float(f64::NEG_INFINITY));
    }
    if NOT_A_NUMBER.contains(&text) {
        return Some(GoValue::Float(f64::NAN));
    }
    match text.as_bytes().first()? {
        b'.' => go_float(text).map(GoValue::Float),
        b'+' | b'-' | b'0'..=b'9' if !is_time(text) => number(&text.replace('_', "")),
        _ => None,
    }
}

/// Whether a text must be quoted, so that a reader of the YAML reads a text again.
pub(crate) fn needs_quotes(text: &str) -> bool {
    value(text).is_some() || is_time(text) || is_base_60(text)
}

fn number(plain: &str) -> Option<GoValue> {
    if let Some(value) = integer(plain) {
        return i64::try_from(value)
            .map(GoValue::Int)
            .or_else(|_| u64::try_from(value).map(GoValue::Uint))
            .ok();
    }
    if is_yaml_float(plain) {
        return plain.parse::<f64>().ok().filter(|f| f.is_finite()).map(GoValue::Float);
    }
    None
}

/// Go's `ParseInt(text, 0, 64)`, and `ParseUint` for what is larger.
fn integer(text: &str) -> Option<i128> {
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, text.get(1..)?),
        b'+' => (false, true, text.get(1..)?),
        _ => (false, false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?)
    } else {
        (10, lower.as_str())
    };
    if body.is_empty() || body.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(body, radix).ok()?;
    let value = if negative { -value } else { value };
    let largest = if signed {
        i128::from(i64::MAX)
    } else {
        i128::from(u64::MAX)
    };
    (value >= i128::from(i64::MIN) && value <= largest).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_yaml_float(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut at = usize::from(text.starts_with(['+', '-']));
    let whole = digits(at);
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let part = digits(at + 1);
        if whole == 0 && part == 0 {
            return false;
        }
        at += 1 + part;
    } else if whole == 0 {
        return false;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let part = digits(at + 1 + sign);
        if part == 0 {
            return false;
        }
        at += 1 + sign + part;
    }
    at == bytes.len()
}

/// Go's `ParseFloat` of a text that starts with a point.
fn go_float(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    text.parse::<f64>().ok().filter(|f| plain && f.is_finite())
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_base_60(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (text, part) = text.split_once('.').unwrap_or((text, ""));
    let mut groups = text.split(':');
    let first = groups.next().unwrap_or_default();
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let mut count = 0;
    for group in groups {
        count += 1;
        let fine = match group.as_bytes() {
            [a] => a.is_ascii_digit(),
            [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
            _ => false,
        };
        if !fine {
            return false;
        }
    }
    count > 0 && first.as_bytes().first().is_some_and(u8::is_ascii_digit) && digits(first) && digits(part)
}

/// Whether yaml.v2 reads the text as a time: a date, or a date with a time of day.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes.iter().take(4).all(u8::is_ascii_digit) || bytes.get(4) != Some(&b'-') {
        return false;
    }
    let rest = text.get(5..).unwrap_or_default();
    let end = rest.find(['T', 't', ' ']).unwrap_or(rest.len());
    let (date, time) = rest.split_at(end);
    let Some((month, day)) = date.split_once('-') else {
        return false;
    };
    let year = text.get(..4).and_then(|y| y.parse::<u32>().ok()).unwrap_or_default();
    let (Some(month), Some(day)) = (small(month, 2), small(day, 2)) else {
        return false;
    };
    if !(1..=12).contains(&month) || day == 0 || day > days(year, month) {
        return false;
    }
    match time.as_bytes().first() {
        None => true,
        Some(b' ') => is_clock(time.get(1..).unwrap_or_default()),
        _ => {
            let clock = time.get(1..).unwrap_or_default();
            let zone = clock.find(['Z', '+', '-']).unwrap_or(clock.len());
            let (clock, zone) = clock.split_at(zone);
            is_clock(clock) && is_zone(zone)
        }
    }
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A number of one to `most` digits.
fn small(text: &str, most: usize) -> Option<u32> {
    ((1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn is_clock(text: &str) -> bool {
    let (text, part) = match text.split_once(['.', ',']) {
        Some((text, part)) => (text, Some(part)),
        None => (text, None),
    };
    let mut fields = text.split(':');
    let within = |field: Option<&str>, most: u32| field.and_then(|f| small(f, 2)).is_some_and(|n| n <= most);
    within(fields.next(), 23)
        && within(fields.next(), 59)
        && within(fields.next(), 59)
        && fields.next().is_none()
        && part.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

fn is_zone(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['+', '-']) else {
        return text == "Z";
    };
    let Some((hours, minutes)) = rest.split_once(':') else {
        return false;
    };
    hours.len() == 2
        && minutes.len() == 2
        && small(hours, 2).is_some_and(|h| h <= 24)
        && small(minutes, 2).is_some_and(|m| m <= 60)
}

/// The value of a plain text, with the text itself where it is one.
pub(crate) fn value_or_text(text: &str, secret: bool) -> GoValue {
    value(text).unwrap_or_else(|| GoValue::Text(GoText::new(text, secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for text in [
            "n",
            "no",
            "on",
            "0755",
            "1_000",
            "0x1F",
            "~",
            "",
            "null",
            "2026-11-29",
            "2026-1-2",
            "1:30",
            "190:20:30.15",
            ".5",
            "1e3",
            "1.",
            "+1",
            "-.inf",
            "0b11",
            "2001-12-14T21:59:43.10-05:00",
        ] {
            assert!(needs_quotes(text), "{text}");
        }
        for text in [
            "nope",
            "0o",
            "08x",
            "1.2.3",
            "2026-13-01",
            "2026-02-30",
            "a:b",
            "1:99",
            "-",
            ".",
            "1e",
            "x",
            "<<",
        ] {
            assert!(!needs_quotes(text), "{text}");
        }
    }
}
