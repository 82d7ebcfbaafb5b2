//! Why a config cannot be used, and where.

use crate::inject::words::DocumentedKey;

/// Why a config cannot be used. Names the place in the config, with the line where it is known.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not YAML, has an unknown key, or has a value of the wrong type.
    #[error("{0}")]
    Yaml(String),
    /// A value that parses and cannot work.
    #[error("{key}: {message}")]
    Value {
        /// The place, such as `connections.default.address`.
        key: String,
        /// What is wrong and what to do.
        message: String,
    },
}

pub(super) fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value {
        key: key.into(),
        message: message.into(),
    })
}

/// JSON of our own that cannot be written. That never happens; if it does, the program must not start.
pub(super) fn unwritable<T>(error: serde_json::Error) -> Result<T, ConfigError> {
    wrong("podkey", format!("cannot be written as JSON: {error}"))
}

impl DocumentedKey {
    /// An error at this key, which is in no connection.
    pub(super) fn wrong<T>(&self, message: impl Into<String>) -> Result<T, ConfigError> {
        wrong(self.key, message)
    }
}
