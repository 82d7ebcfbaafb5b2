//! Go's number literals in templates: one literal may be an integer, an unsigned integer and a float.

use crate::template::error::Fault;
use crate::text::unquoted;

/// A number literal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    /// Whether the literal is written as a float, and so is a float where no type is asked for.
    pub(crate) float_like: bool,
}

impl Number {
    pub(crate) fn character(code: i64) -> Self {
        Self {
            int: Some(code),
            uint: u64::try_from(code).ok(),
            float: Some(code as f64),
            float_like: false,
        }
    }

    /// Reads a literal: decimal, `0x`, `0o`, `0`, `0b`, with `_`, or a float.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let int = integer(text);
        let mut number = Self {
            int: int.and_then(|i| i64::try_from(i).ok()),
            uint: int
                .filter(|_| !text.starts_with(['+', '-']))
                .and_then(|i| u64::try_from(i).ok()),
            float: None,
            float_like: false,
        };
        if number.int == Some(0) {
            number.uint = Some(0);
        }
        number.float = number.int.map(|i| i as f64).or_else(|| number.uint.map(|u| u as f64));
        if number.float.is_none() {
            let float = float(text).ok_or_else(|| Fault::syntax(format!("{} is not a number", unquoted(text))))?;
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return Err(Fault::syntax(format!("{} is too large for a number", unquoted(text))));
            }
            number.float = Some(float);
            number.int = (float as i64 as f64 == float && float.abs() < 9.2e18).then_some(float as i64);
            number.uint = (float >= 0.0 && float as u64 as f64 == float && float < 1.8e19).then_some(float as u64);
        }
        let hex = text.len() > 2 && (text.starts_with("0x") || text.starts_with("0X")) && !text.contains(['p', 'P']);
        number.float_like = !hex && text.contains(['.', 'e', 'E', 'p', 'P']);
        Ok(number)
    }
}

/// An integer as Go's `ParseInt(text, 0, 64)` and `ParseUint` read it.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body, prefixed) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?, true)
    } else {
        (10, lower.as_str(), false)
    };
    let plain = underscores(body, prefixed)?;
    if plain.is_empty() || plain.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(&plain, radix).ok()?;
    Some(if negative { -value } else { value })
}

/// Drops `_` where Go allows it: between digits, and after a prefix.
fn underscores(text: &str, prefixed: bool) -> Option<String> {
    if !text.contains('_') {
        return Some(text.to_owned());
    }
    let bytes = text.as_bytes();
    let digit = |b: Option<&u8>| b.is_some_and(u8::is_ascii_hexdigit);
    let fine = bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(i, _)| {
        let before = if i == 0 { prefixed } else { digit(bytes.get(i - 1)) };
        before && digit(bytes.get(i + 1))
    });
    fine.then(|| text.replace('_', ""))
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        return hex_float(text.starts_with('-'), unsigned.get(2..)?);
    }
    let plain = underscores(text, false)?;
    let value: f64 = plain.parse().ok()?;
    (value.is_finite() && plain.bytes().any(|b| b.is_ascii_digit())).then_some(value)
}

/// `0x1.8p3`: exact for up to 15 digits, which is enough for a literal.
fn hex_float(negative: bool, text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = underscores(&format!("{whole}{part}"), true)?;
    if digits.is_empty() || digits.len() > 15 || exponent.abs() > 1000 {
        return None;
    }
    let value = u64::from_str_radix(&digits, 16).ok()? as f64;
    let shift = exponent.checked_sub(i32::try_from(part.len()).ok()?.checked_mul(4)?)?;
    let value = value * 2_f64.powi(shift);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_go_s() {
        for (text, int) in [
            ("5", 5),
            ("-5", -5),
            ("+5", 5),
            ("0x1F", 31),
            ("017", 15),
            ("0o17", 15),
            ("0b101", 5),
            ("1_000", 1000),
            ("0x_1", 1),
            ("1e3", 1000),
        ] {
            assert_eq!(Number::parse(text).unwrap().int, Some(int), "{text}");
        }
        for text in [
            "089",
            "1__0",
            "_1",
            "1_",
            "0x",
            ".",
            "1e",
            "99999999999999999999",
            "0b2",
        ] {
            assert!(Number::parse(text).is_err(), "{text}");
        }
        let large = Number::parse("18446744073709551615").unwrap();
        assert_eq!((large.int, large.uint), (None, Some(u64::MAX)));
        assert!(Number::parse("1e3").unwrap().float_like);
        assert!(!Number::parse("0x1e").unwrap().float_like);
        assert_eq!(Number::parse("0x1.8p1").unwrap().float, Some(3.0));
        assert_eq!(Number::parse("1.5").unwrap().int, None);
    }
}
