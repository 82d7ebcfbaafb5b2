//! Why a volume could not be written.

/// A file or directory of a volume could not be written, removed or opened. The agent exits with 73.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(in crate::agent) struct VolumeError {
    /// What is wrong, and where.
    pub message: String,
    /// What to do. May be empty.
    pub hint: String,
}

impl VolumeError {
    pub(in crate::agent) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}
