//! A failure: its exit code, what is wrong, what to do. Failures of other rooms become one here, and several failures
//! become one that fits into a termination message.

use super::cut;
use crate::agent::volume::VolumeError;
use crate::env::select::SelectError;
use crate::http::{IdTokenError, IdTokenErrorKind};
use crate::plan::{ApiPath, Destination, ExitCode, MAX_RENDERED_BYTES};
use crate::render::RenderError;
use crate::template::ErrorKind;
use crate::vault::{VaultError, VaultErrorKind};

/// A failure that ends the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(in crate::agent) struct Failure {
    /// What the program exits with.
    pub code: ExitCode,
    /// What is wrong, and where.
    pub message: String,
    /// What to do. May be empty.
    pub hint: String,
}

/// How many bytes of a termination message (1 KiB) all problems take together.
const MAX_PROBLEMS: usize = 560;
/// How many bytes of a termination message all hints take together.
const MAX_HINTS: usize = 280;
/// How many bytes one of several problems takes.
const MAX_PROBLEM: usize = 260;

impl Failure {
    pub(in crate::agent) fn new(code: ExitCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The secrets are larger than [`MAX_RENDERED_BYTES`].
    pub(in crate::agent) fn too_large() -> Self {
        Self::new(
            ExitCode::BadData,
            format!(
                "the files and variables together are larger than {} MiB",
                MAX_RENDERED_BYTES >> 20
            ),
            "deliver fewer or smaller secrets",
        )
    }

    /// The secret at `path` cannot be rendered as a file.
    pub(in crate::agent) fn render(error: &RenderError, path: &ApiPath) -> Self {
        let (code, hint) = match error {
            RenderError::NoField { .. } => (ExitCode::NotFound, EXACT_NAMES),
            RenderError::NullField { .. } => (ExitCode::NotFound, "give the field a value, or name another field"),
            RenderError::Decode { .. } => (
                ExitCode::BadData,
                "correct the field, or `decode` in the annotation podkey.dev/files",
            ),
            RenderError::Format { .. } | RenderError::NotText { .. } => (
                ExitCode::BadData,
                "rename or correct the field, or choose another `format`, such as json",
            ),
            RenderError::FieldName { .. } | RenderError::SameName { .. } | RenderError::TooManyFields(_) => (
                ExitCode::BadData,
                "rename the field, or deliver single fields with `key`",
            ),
            RenderError::Plan(_) | RenderError::Template(_) | RenderError::TooManyValues(_) => {
                (ExitCode::Setup, "correct the annotation podkey.dev/files")
            }
        };
        Self::new(code, format!("secret {path}: {error}"), hint)
    }

    /// The template cannot make the file.
    pub(in crate::agent) fn template(error: &RenderError, file: &Destination) -> Self {
        let message = format!("the template of {file}: {error}");
        let error = match error {
            RenderError::Template(error) => error,
            RenderError::TooManyValues(_) => {
                return Self::new(
                    ExitCode::BadData,
                    message,
                    "make several templates of it, or store smaller secrets",
                );
            }
            _ => return Self::new(ExitCode::NotVault, message, ""),
        };
        let code = match error.kind {
            ErrorKind::Missing => ExitCode::NotFound,
            ErrorKind::Value | ErrorKind::Bound => ExitCode::BadData,
            ErrorKind::Syntax | ErrorKind::Refused => ExitCode::Setup,
        };
        let place = format!("line {}, column {}", error.line, error.column);
        Self::new(
            code,
            format!("the template of {file}, {place}: {}", error.message),
            error.hint.clone(),
        )
    }

    /// The secret at `path` does not have the values that variables are made of.
    pub(in crate::agent) fn select(error: &SelectError, path: &ApiPath) -> Self {
        let (code, hint) = match error {
            SelectError::NoMatch { .. } => (ExitCode::NotFound, EXACT_NAMES),
            SelectError::Steering(_) => (
                ExitCode::BadData,
                "write the fields that are wanted one by one (path field | NAME), or give the wildcard a prefix that ends \
                 with _ (path * | APP_)",
            ),
            _ => (ExitCode::BadData, "correct the secret, or the annotation that names it"),
        };
        Self::new(code, format!("secret {path}: {error}"), hint)
    }

    /// Several failures, in the order of the plan, as one failure that fits into a termination message. `unread` is how
    /// many paths were not read because of the failures. A failure that may pass by itself is left out beside a failure
    /// that does not pass: another try would fail anyway. None: there are no failures.
    pub(in crate::agent) fn together(mut failures: Vec<Self>, mut unread: usize) -> Option<Self> {
        let passes = |failure: &Self| matches!(failure.code, ExitCode::Unavailable | ExitCode::RateLimited);
        if failures.iter().any(|failure| !passes(failure)) {
            let before = failures.len();
            failures.retain(|failure| !passes(failure));
            unread += before - failures.len();
        }
        let mut different: Vec<Self> = Vec::new();
        for failure in failures {
            if !different.iter().any(|known| known.message == failure.message) {
                different.push(failure);
            }
        }
        let code = ExitCode::BY_WEIGHT
            .into_iter()
            .find(|code| different.iter().any(|failure| failure.code == *code))
            .or_else(|| different.first().map(|failure| failure.code))?;
        if different.len() < 2 {
            return different.pop();
        }
        for failure in &different {
            tracing::error!(
                code = failure.code.number(),
                reason = failure.message,
                hint = failure.hint,
                "one of several problems"
            );
        }
        let messages: Vec<&str> = different.iter().map(|failure| failure.message.as_str()).collect();
        let mut hints: Vec<&str> = Vec::new();
        for failure in different.iter().filter(|failure| !failure.hint.is_empty()) {
            if !hints.contains(&failure.hint.as_str()) {
                hints.push(&failure.hint);
            }
        }
        let mut message = format!(
            "{} problems: {}",
            different.len(),
            join_limited(&messages, MAX_PROBLEMS)
        );
        if unread > 0 {
            message.push_str(&format!("; not read because of them: {unread}"));
        }
        Some(Self::new(code, message, join_limited(&hints, MAX_HINTS)))
    }
}

const EXACT_NAMES: &str = "names of fields are exact, upper and lower case too";

/// Joins as many of the texts as fit into `limit` bytes, and says how many more there are.
fn join_limited(texts: &[&str], limit: usize) -> String {
    let mut list = String::new();
    for (index, text) in texts.iter().enumerate() {
        let text = cut(text, MAX_PROBLEM);
        let more = texts.len() - index;
        if index > 0 && list.len() + text.len() + "; ".len() > limit {
            list.push_str(&format!("; and {more} more"));
            break;
        }
        list.push_str(if index > 0 { "; " } else { "" });
        list.push_str(&text);
    }
    list
}

impl From<VolumeError> for Failure {
    fn from(error: VolumeError) -> Self {
        Self::new(ExitCode::CannotWrite, error.message, error.hint)
    }
}

impl From<IdTokenError> for Failure {
    fn from(error: IdTokenError) -> Self {
        let code = match error.kind {
            IdTokenErrorKind::Setup => ExitCode::Setup,
            IdTokenErrorKind::NotGitHub => ExitCode::NotVault,
            IdTokenErrorKind::Unavailable => ExitCode::Unavailable,
            IdTokenErrorKind::Denied => ExitCode::Denied,
            IdTokenErrorKind::Trust => ExitCode::Trust,
        };
        Self::new(code, error.message, error.hint)
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let code = match error.kind {
            VaultErrorKind::Setup => ExitCode::Setup,
            VaultErrorKind::NotFound | VaultErrorKind::NoEngine | VaultErrorKind::NotReadable => ExitCode::NotFound,
            VaultErrorKind::Unavailable | VaultErrorKind::Failing => ExitCode::Unavailable,
            VaultErrorKind::RateLimited => ExitCode::RateLimited,
            VaultErrorKind::NotVault => ExitCode::NotVault,
            VaultErrorKind::Denied | VaultErrorKind::Refused => ExitCode::Denied,
            VaultErrorKind::Trust => ExitCode::Trust,
        };
        Self::new(code, error.message, error.hint)
    }
}
