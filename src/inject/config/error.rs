//! Why a config cannot be used, and where.

/// Why a config cannot be used. Names the place in it, and the line where there is one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No YAML, an unknown key, a value of the wrong type.
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

pub(crate) fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value {
        key: key.into(),
        message: message.into(),
    })
}
