//! How a run ends: the exit code, the last line on stderr, and the pod's termination message.

mod failure;
mod setup;

use serde::{Deserialize, Serialize};

pub(super) use self::failure::Failure;
pub(super) use self::setup::SetupFault;
use super::volume::outcome::InitOutcome;
use crate::http::clean;
use crate::plan::ExitCode;
use crate::telemetry::LogFormat;

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RunStage {
    /// Parsing the command line.
    Usage,
    /// Everything until there is a client token: reading the plan and the service-account token, and the login.
    Login,
    /// Reading the secrets.
    Read,
    /// Rendering the files in memory.
    Render,
    /// Writing the files.
    Write,
    /// Keeping the files fresh.
    Refresh,
    /// Everything else in a job hook.
    Job,
    /// Starting a container's command.
    Exec,
}

impl RunStage {
    /// The word in messages.
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

/// How `init` ended, as the job hooks and `exec` read it.
pub(super) type ReportedOutcome = InitOutcome<RunReport>;

/// The end of a run in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunReport {
    code: u8,
    stage: RunStage,
    connection: String,
    message: String,
    hint: String,
}

impl RunReport {
    /// Puts the end of a run into words that fit on one line.
    pub(super) fn new(stage: RunStage, connection: Option<&str>, outcome: &Result<String, Failure>) -> Self {
        let (code, message, hint) = match outcome {
            Ok(message) => (ExitCode::Done, message.as_str(), ""),
            Err(failure) => (failure.code, failure.message.as_str(), failure.hint.as_str()),
        };
        Self {
            code: code.number(),
            stage,
            connection: clean(connection.unwrap_or("-"), 128),
            message: clean(message, 2048),
            hint: clean(hint, 1024),
        }
    }

    /// Adds a clause to the end of the message.
    pub(super) fn with(mut self, clause: &str) -> Self {
        self.message = format!("{}, {}", self.message, clean(clause, 1024));
        self
    }

    /// An annotation for the job's log: the title, and the message.
    pub(super) fn annotation(&self) -> (String, String) {
        let hint = match self.hint.is_empty() {
            true => String::new(),
            false => format!(" {}", self.hint),
        };
        (self.head(), format!("{}.{hint}", self.message))
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// The last line on stderr: JSON with five fields for programs, the text of the termination message for people.
    pub(super) fn last_line(&self, format: LogFormat) -> String {
        match format {
            // Five plain fields: serializing them does not fail.
            LogFormat::Json => serde_json::to_string(self).unwrap_or_default(),
            LogFormat::Text => self.text(),
        }
    }

    /// The termination message: at most 1 KiB. A message that is too long is cut before the hint is cut.
    pub(super) fn text(&self) -> String {
        const LIMIT: usize = 1024;
        let head = format!("{}: ", self.head());
        let hint = match self.hint.is_empty() {
            true => String::new(),
            false => format!(" {}", cut(&self.hint, 480)),
        };
        let room = LIMIT.saturating_sub(head.len() + 1 + hint.len());
        format!("{head}{}.{hint}", cut(&self.message, room))
    }

    fn head(&self) -> String {
        let (code, stage, connection) = (self.code, self.stage.name(), &self.connection);
        format!("podkey {code} stage={stage} connection={connection}")
    }
}

/// The text, or its first bytes and an ellipsis: at most `limit` bytes.
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
            ExitCode::Denied,
            "no\n\u{1b}[31m".to_owned() + &"ä".repeat(3000),
            "do this".to_owned(),
        );
        let report = RunReport::new(RunStage::Login, Some("main"), &Err(failure));
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
            let text = RunReport::new(RunStage::Read, Some(&name), &Err(failure.clone())).text();
            assert!(text.len() <= 1024 && !text.contains("…."), "{} {text}", text.len());
            (failure.code, text)
        };
        assert_eq!(Failure::together(Vec::new(), 0), None);
        let one = failure(ExitCode::Denied, "a", "b");
        assert_eq!(
            Failure::together(vec![one.clone(), one.clone()], 3),
            Some(one),
            "one problem"
        );

        let (code, text) = together(
            vec![
                failure(ExitCode::NotFound, "no secret at a", "check the path"),
                failure(ExitCode::Denied, "the role may not read b", "add `read`"),
                failure(ExitCode::Unavailable, "the server is away", "start it"),
                failure(ExitCode::NotFound, "no secret at c", "check the path"),
            ],
            2,
        );
        assert_eq!(code, ExitCode::Denied, "the heaviest");
        assert!(
            text.ends_with(
                ": 3 problems: no secret at a; the role may not read b; no secret at c; not read because of them: 3. \
                 check the path; add `read`"
            ),
            "{text}"
        );

        let many = (0..64).map(|n| {
            failure(
                ExitCode::NotFound,
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
        let report = RunReport::new(RunStage::Write, None, &Ok("wrote 1 file".into()));
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
