//! The place of a connection's key in the config, for errors about its value.

use std::str::FromStr;

use super::error::{ConfigError, wrong};
use crate::inject::words::DocumentedKey;
use crate::plan::{Invalid, spelling};

/// The connection that an error is about.
#[derive(Clone, Copy)]
pub(super) struct ConnectionPlace<'a> {
    pub(super) name: &'a str,
}

impl ConnectionPlace<'_> {
    /// `connections.default.auth.mount` of `connections.NAME.auth.mount`.
    pub(super) fn key(self, key: &DocumentedKey) -> String {
        key.key.replacen("NAME", self.name, 1)
    }

    pub(super) fn wrong<T>(self, key: &DocumentedKey, message: impl Into<String>) -> Result<T, ConfigError> {
        wrong(self.key(key), message)
    }

    /// A text without expressions of other programs.
    pub(super) fn parse<T: FromStr<Err = Invalid>>(self, key: &DocumentedKey, text: &str) -> Result<T, ConfigError> {
        self.parse_spelled(key, spelling::of_plain_text, text)
    }

    /// A text that other programs write in other ways; `spelling` recognises those.
    pub(super) fn parse_spelled<T: FromStr<Err = Invalid>>(
        self,
        key: &DocumentedKey,
        spelling: fn(&str) -> Option<String>,
        text: &str,
    ) -> Result<T, ConfigError> {
        spelling::parse(text, spelling).or_else(|why| self.wrong(key, format!("{text:?} {why}")))
    }
}
