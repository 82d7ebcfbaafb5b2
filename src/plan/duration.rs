//! Durations that people write, such as `30s` or `1m 30s`, each with its limits.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DEFAULT_BUDGET, Invalid, MAX_BUDGET, checked_text, invalid};

/// The time that all tries of one agent may take together: more than zero, at most [`MAX_BUDGET`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Budget(Duration);

checked_text!(Budget);

impl Budget {
    /// As a duration.
    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self(DEFAULT_BUDGET)
    }
}

impl FromStr for Budget {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match parse(text)? {
            Duration::ZERO => invalid("is no time: write a duration longer than 0s"),
            duration if duration > MAX_BUDGET => {
                invalid(format!("is longer than {}", humantime::format_duration(MAX_BUDGET)))
            }
            duration => Ok(Self(duration)),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// The time between two reads of a secret: 5 seconds to 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Interval(Duration);

checked_text!(Interval);

impl Interval {
    const SHORTEST: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(24 * 3600);

    /// As a duration.
    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Interval {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match parse(text)? {
            duration if duration < Self::SHORTEST => invalid("is shorter than 5s"),
            duration if duration > Self::LONGEST => invalid("is longer than 24h"),
            duration => Ok(Self(duration)),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

fn parse(text: &str) -> Result<Duration, Invalid> {
    humantime::parse_duration(text).or_else(|_| invalid("is not a valid duration (for example 30s or 5m)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_have_bounds() {
        assert_eq!("5m".parse::<Budget>().unwrap(), Budget::default());
        assert_eq!(Budget::default().to_string(), "5m");
        for bad in ["", "5", "0s", "16m", "-1s", "never"] {
            assert!(bad.parse::<Budget>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn intervals_have_bounds() {
        assert_eq!("15s".parse::<Interval>().unwrap().to_string(), "15s");
        for bad in ["", "15", "4s", "25h", "never", "-1s"] {
            assert!(bad.parse::<Interval>().is_err(), "{bad:?}");
        }
    }
}
