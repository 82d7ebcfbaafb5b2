//! A try that failed, as the answers give it to the classification.

use super::error_response::ErrorResponse;
use crate::http::{ResponseHead, TransportError};

/// A failed try.
#[derive(Debug, Clone)]
pub(super) enum FailedTry {
    /// No whole answer.
    Transport(TransportError),
    /// An answer that is no success.
    Refused(Box<ErrorResponse>),
    /// A success that podkey cannot use: what is wrong with it, without its content, and its head.
    Malformed(&'static str, ResponseHead),
}

impl FailedTry {
    /// A success that podkey cannot use. The caller adds the head.
    pub(super) const fn malformed(what: &'static str) -> Self {
        let head = ResponseHead {
            status: 0,
            content_type: String::new(),
        };
        Self::Malformed(what, head)
    }

    /// With the head of the malformed answer.
    pub(super) fn with_head(self, head: ResponseHead) -> Self {
        match self {
            Self::Malformed(what, _) => Self::Malformed(what, head),
            other => other,
        }
    }
}
