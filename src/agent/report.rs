//! How a run ends: its exit code, the last line on stderr, and the same in the pod's termination message.

use serde::{Deserialize, Serialize};

use crate::http::{IdTokenError, IdTokenErrorKind, clean};
use crate::render::RenderError;
use crate::telemetry::LogFormat;
use crate::vault::{VaultError, VaultErrorKind};

/// The exit codes, after sysexits.h. Never 7: ARC reads that as an outdated runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// Everything was delivered.
    Done = 0,
    /// The plan or the command line is wrong, or the pod's own set-up.
    BadPlan = 64,
    /// A secret's data is not usable: decode, format, name.
    BadData = 65,
    /// No such path, version or field.
    NotFound = 66,
    /// The server was not there until the budget ran out.
    Unavailable = 69,
    /// The files could not be written.
    CannotWrite = 73,
    /// Rate-limited until the budget ran out.
    RateLimited = 75,
    /// The answer was none of Vault's.
    NotVault = 76,
    /// The server refused.
    Denied = 77,
    /// The server's certificate is not trusted.
    Trust = 78,
    /// Told to stop.
    Terminated = 143,
}

/// How far the run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    /// Understanding the command line.
    Usage,
    /// Everything up to having a client token: the plan, the service-account token, the login.
    Login,
    /// Reading the secrets.
    Read,
    /// Making files of them, in memory.
    Render,
    /// Writing the files.
    Write,
    /// Keeping them fresh.
    Refresh,
    /// In a job hook: all but the above.
    Job,
    /// In front of a container's command.
    Exec,
}

impl Stage {
    /// As it is written in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Login => "login",
            Self::Read => "read",
            Self::Render => "render",
            Self::Write => "write",
            Self::Refresh => "refresh",
            Self::Job => "job",
            Self::Exec => "exec",
        }
    }
}

/// A failure that ends the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    /// What the program exits with.
    pub code: Code,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// A failure with its hint.
    pub(super) fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// More than may be delivered.
    pub(super) fn too_large() -> Self {
        Self::new(
            Code::BadData,
            "the files and variables together are larger than 4 MiB",
            "deliver fewer or smaller secrets",
        )
    }
}

/// The codes by what they say of several failures together: first that nothing may be trusted, then who has to mend what, and
/// last what may pass by itself.
const BY_WEIGHT: [Code; 8] = [
    Code::BadPlan,
    Code::Trust,
    Code::NotVault,
    Code::Denied,
    Code::NotFound,
    Code::BadData,
    Code::RateLimited,
    Code::Unavailable,
];
/// How much of the 1 KiB of a termination message the problems, and what to do about them, take together, in bytes.
const MAX_PROBLEMS: usize = 560;
const MAX_HINTS: usize = 280;
/// How much one of several problems may take.
const MAX_PROBLEM: usize = 260;

impl Failure {
    /// Several failures, in the order of the plan, as one that fits into a termination message; `unread` is how many paths were
    /// not read because of them. What may pass by itself is left out where something else is wrong: the same try would be
    /// in vain. None: there are none.
    pub(super) fn together(mut failures: Vec<Self>, mut unread: usize) -> Option<Self> {
        let passes = |failure: &Self| matches!(failure.code, Code::Unavailable | Code::RateLimited);
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
        let code = BY_WEIGHT
            .into_iter()
            .find(|code| different.iter().any(|failure| failure.code == *code))
            .or_else(|| different.first().map(|failure| failure.code))?;
        if different.len() < 2 {
            return different.pop();
        }
        for failure in &different {
            tracing::error!(
                code = failure.code as u8,
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
        let mut message = format!("{} problems: {}", different.len(), listed(&messages, MAX_PROBLEMS));
        if unread > 0 {
            message.push_str(&format!("; not read because of them: {unread}"));
        }
        Some(Self::new(code, message, listed(&hints, MAX_HINTS)))
    }
}

/// As many of the texts as fit, and how many more there are.
fn listed(texts: &[&str], limit: usize) -> String {
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

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let code = match error.kind {
            VaultErrorKind::Setup => Code::BadPlan,
            VaultErrorKind::NotFound | VaultErrorKind::NoEngine | VaultErrorKind::NotReadable => Code::NotFound,
            VaultErrorKind::Unavailable | VaultErrorKind::Failing => Code::Unavailable,
            VaultErrorKind::RateLimited => Code::RateLimited,
            VaultErrorKind::NotVault => Code::NotVault,
            VaultErrorKind::Denied | VaultErrorKind::Refused => Code::Denied,
            VaultErrorKind::Trust => Code::Trust,
        };
        Self::new(code, error.message, error.hint)
    }
}

impl From<IdTokenError> for Failure {
    fn from(error: IdTokenError) -> Self {
        let code = match error.kind {
            IdTokenErrorKind::Setup => Code::BadPlan,
            IdTokenErrorKind::NotGitHub => Code::NotVault,
            IdTokenErrorKind::Unavailable => Code::Unavailable,
            IdTokenErrorKind::Denied => Code::Denied,
            IdTokenErrorKind::Trust => Code::Trust,
        };
        Self::new(code, error.message, error.hint)
    }
}

impl Failure {
    /// A failure to render the secret at `path`.
    pub(super) fn render(error: &RenderError, path: &str) -> Self {
        let (code, hint) = match error {
            RenderError::NoField { .. } => (
                Code::NotFound,
                "names of fields are exact, upper and lower case too".to_owned(),
            ),
            RenderError::NullField { .. } => (Code::NotFound, "give the field a value, or name another one".to_owned()),
            RenderError::Decode { .. } => (
                Code::BadData,
                "correct the field, or `decode` in the annotation podkey.dev/files".to_owned(),
            ),
            RenderError::Format { .. } | RenderError::NotText { .. } => (
                Code::BadData,
                "rename or correct the field, or choose another `format`, such as json".to_owned(),
            ),
            RenderError::FieldName { .. } | RenderError::SameName { .. } | RenderError::TooManyFields(_) => (
                Code::BadData,
                "rename the field, or deliver single fields with `key`".to_owned(),
            ),
            RenderError::Plan(_) => (Code::BadPlan, "correct the annotation podkey.dev/files".to_owned()),
        };
        Self::new(code, format!("secret {path}: {error}"), hint)
    }
}

/// The end of a run, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    code: u8,
    stage: Stage,
    connection: String,
    message: String,
    hint: String,
}

impl Report {
    /// Puts the end of a run into words that fit on one line.
    pub(super) fn new(stage: Stage, connection: Option<&str>, outcome: &Result<String, Failure>) -> Self {
        let (code, message, hint) = match outcome {
            Ok(message) => (Code::Done, message.as_str(), ""),
            Err(failure) => (failure.code, failure.message.as_str(), failure.hint.as_str()),
        };
        Self {
            code: code as u8,
            stage,
            connection: clean(connection.unwrap_or("-"), 128),
            message: clean(message, 2048),
            hint: clean(hint, 1024),
        }
    }

    /// The same with more said at the end of its message.
    pub(super) fn with(mut self, more: &str) -> Self {
        self.message = format!("{}, {}", self.message, clean(more, 1024));
        self
    }

    /// What an annotation in the job's log says: its title, and the message.
    pub(super) fn annotation(&self) -> (String, String) {
        let title = format!(
            "podkey {} stage={} connection={}",
            self.code,
            self.stage.name(),
            self.connection
        );
        let hint = match self.hint.is_empty() {
            true => String::new(),
            false => format!(" {}", self.hint),
        };
        (title, format!("{}.{hint}", self.message))
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// The last line on stderr: for programs, JSON with five fields; for people, as the termination message has it.
    pub(super) fn last_line(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Json => self.json(),
            LogFormat::Text => self.text(),
        }
    }

    fn json(&self) -> String {
        // Five plain fields: nothing in them can fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The termination message: at most 1 KiB. A message that is too long is cut before its hint is.
    pub(super) fn text(&self) -> String {
        const LIMIT: usize = 1024;
        let head = format!(
            "podkey {} stage={} connection={}: ",
            self.code,
            self.stage.name(),
            self.connection
        );
        let hint = match self.hint.is_empty() {
            true => String::new(),
            false => format!(" {}", cut(&self.hint, 480)),
        };
        let room = LIMIT.saturating_sub(head.len() + 1 + hint.len());
        format!("{head}{}.{hint}", cut(&self.message, room))
    }
}

fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_termination_message_is_one_short_line() {
        let failure = Failure::new(
            Code::Denied,
            "no\n\u{1b}[31m".to_owned() + &"ä".repeat(3000),
            "do this".to_owned(),
        );
        let report = Report::new(Stage::Login, Some("main"), &Err(failure));
        let text = report.text();
        assert!(text.len() <= 1024, "{}", text.len());
        assert!(
            text.starts_with("podkey 77 stage=login connection=main: no \\u{1b}[31mä"),
            "{text}"
        );
        assert!(text.ends_with("…. do this"), "{text}");
        assert!(!text.chars().any(char::is_control));
    }

    #[test]
    fn several_failures_fit_into_one_termination_message_and_none_is_cut_away_in_silence() {
        let failure = |code, text: &str, hint: &str| Failure::new(code, text, hint);
        let together = |failures, unread| {
            let failure = Failure::together(failures, unread).unwrap();
            let name = "c".repeat(128);
            let text = Report::new(Stage::Read, Some(&name), &Err(failure.clone())).text();
            assert!(text.len() <= 1024 && !text.contains("…."), "{} {text}", text.len());
            (failure.code, text)
        };
        assert_eq!(Failure::together(Vec::new(), 0), None);
        let one = failure(Code::Denied, "a", "b");
        assert_eq!(
            Failure::together(vec![one.clone(), one.clone()], 3),
            Some(one),
            "one problem"
        );

        let (code, text) = together(
            vec![
                failure(Code::NotFound, "no secret at a", "check the path"),
                failure(Code::Denied, "the role may not read b", "add `read`"),
                failure(Code::Unavailable, "the server is away", "start it"),
                failure(Code::NotFound, "no secret at c", "check the path"),
            ],
            2,
        );
        assert_eq!(code, Code::Denied, "the heaviest");
        assert!(
            text.ends_with(
                ": 3 problems: no secret at a; the role may not read b; no secret at c; not read because of them: 3. \
                 check the path; add `read`"
            ),
            "{text}"
        );

        let many = (0..64).map(|n| {
            failure(
                Code::NotFound,
                &format!("no secret at {n} {}", "ä".repeat(90)),
                &"h".repeat(400),
            )
        });
        let (_, text) = together(many.collect(), 0);
        assert!(
            text.contains("64 problems: no secret at 0") && text.contains("; and 62 more"),
            "{text}"
        );
    }

    #[test]
    fn the_last_line_is_json_with_the_five_fields_or_text_for_people() {
        let report = Report::new(Stage::Write, None, &Ok("wrote 1 file".into()));
        assert_eq!(
            report.last_line(LogFormat::Text),
            "podkey 0 stage=write connection=-: wrote 1 file."
        );
        assert_eq!(
            report.last_line(LogFormat::Json),
            r#"{"code":0,"stage":"write","connection":"-","message":"wrote 1 file","hint":""}"#
        );
    }
}
