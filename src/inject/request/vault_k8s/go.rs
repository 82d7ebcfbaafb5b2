//! Values as Go spells them: what vault-k8s parses with `strconv` and `time.ParseDuration`, which the agent's own words differ from.

use std::time::Duration;

use crate::inject::problem::quoted;

/// <https://pkg.go.dev/strconv#ParseBool>. vault-k8s takes an empty value as false.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "{} is not a boolean: write \"true\" or \"false\"",
            quoted(text)
        )),
    }
}

/// A whole number of base 10, with or without a sign.
pub(super) fn integer(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("{} is not a whole number", quoted(text)))
}

/// A whole number of base 10 that is not negative. Go takes no sign here.
pub(super) fn unsigned(text: &str) -> Result<u64, String> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| format!("{} is not a whole number of 0 or more", quoted(text)))
}

/// A number with or without a fraction.
pub(super) fn float(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{} is not a number", quoted(text)))
}

/// The units of a duration, in seconds. A unit that begins as another one stands before it.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("\u{b5}s", 1e-6),
    ("\u{3bc}s", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// <https://pkg.go.dev/time#ParseDuration>, without negative durations.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{} is not a duration such as 30s or 1h30m", quoted(text));
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let (unit, scale) = UNITS
            .into_iter()
            .find(|(unit, _)| after.starts_with(unit))
            .ok_or_else(wrong)?;
        seconds += number * scale;
        rest = &after[unit.len()..];
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_those_of_go_and_no_others() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["", "0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["tRuE", "yes", "on", " true", "2"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_of_base_ten() {
        assert_eq!((integer("-3"), integer("+3")), (Ok(-3), Ok(3)));
        assert_eq!((unsigned("01"), unsigned("0")), (Ok(1), Ok(0)));
        for text in ["", "0x1", "1_0", "1.0", " 1", "root"] {
            assert!(integer(text).is_err() && unsigned(text).is_err(), "{text}");
        }
        assert!(unsigned("-1").is_err() && unsigned("+1").is_err());
        assert_eq!(float("0.9"), Ok(0.9));
        assert!(float("").is_err() && float("x").is_err());
    }

    #[test]
    fn durations_are_sums_of_numbers_with_units() {
        for (text, millis) in [
            ("0", 0),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1500),
            ("250ms", 250),
            ("1m0s", 60_000),
            (".5s", 500),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "m", "5x", "5 m", "-5m", ".s", "1d", "1e400h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
