//! The permissions of a file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Invalid, checked_text, invalid};

/// File permissions. Never writable for every user, never with a setuid, setgid or sticky bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

checked_text!(Mode);

impl Default for Mode {
    fn default() -> Self {
        Self::OWNER
    }
}

impl Mode {
    /// `0400`: the owner reads.
    pub const OWNER: Self = Self(0o400);
    /// `0440`: owner and group read.
    pub(crate) const GROUP: Self = Self(0o440);
    /// `0444`: every user of the pod reads.
    pub(crate) const ALL: Self = Self(0o444);

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The permission bits.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const NOT_A_MODE: &str = "is not a valid octal mode (for example \"0400\")";
        let digits = text.strip_prefix("0o").unwrap_or(text);
        if !(3..=4).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return invalid(NOT_A_MODE);
        }
        match u32::from_str_radix(digits, 8) {
            Err(_) => invalid(NOT_A_MODE),
            Ok(bits) if bits & 0o7000 != 0 => invalid("has a setuid, setgid or sticky bit"),
            Ok(bits) if bits & 0o002 != 0 => invalid("lets every user write"),
            Ok(bits) => Ok(Self(bits)),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_never_let_every_user_write() {
        for (text, bits) in [
            ("0400", 0o400),
            ("440", 0o440),
            ("0o444", 0o444),
            ("0775", 0o775),
            ("0000", 0),
        ] {
            assert_eq!(text.parse::<Mode>().unwrap().bits(), bits, "{text}");
        }
        for bad in [
            "", "4", "r--", "0888", "04000", "4400", "2440", "1444", "0002", "0666", "0777", "+400", "-400",
        ] {
            assert!(bad.parse::<Mode>().is_err(), "{bad:?}");
        }
    }
}
