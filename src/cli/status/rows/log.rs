//! What the last lines of the agent's log say: of the sidecar, about the files; of init, why it tries again. The lines are JSON objects of `telemetry`.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::text::clean;
use crate::plan::sidecar_log::{
    ANSWERS_AGAIN, FRESH_AGAIN, KEEPING_FRESH, NOT_FRESH, NOT_REVOKED, NOTHING_REFRESHES, TRIED_AGAIN,
};

/// How many lines are read. A sidecar that is behind writes one line a minute.
pub(in crate::cli::status) const MAX_LOG_LINES: i64 = 300;
/// How many bytes are read: 300 long lines.
pub(in crate::cli::status) const MAX_LOG_BYTES: i64 = 1 << 20;
/// A sidecar that is behind tries again within an hour (`LONGEST_GAP` in `schedule/pace.rs`). An older warning is over.
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_hours(2);

/// What the log says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::cli::status) struct AgentLog {
    /// Of the sidecar. None: the files are fresh.
    pub(super) behind: Option<Behind>,
    /// Of init: the reason of the last warning. None: nothing has failed.
    pub(super) retry: Option<String>,
}

/// The files stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Behind {
    pub(super) since: Timestamp,
    pub(super) why: String,
    pub(super) is_longer: bool,
}

#[derive(Deserialize)]
struct Line {
    timestamp: Timestamp,
    message: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    file: String,
    #[serde(default)]
    state: String,
}

/// What fails after the lines that were read so far.
#[derive(Default)]
struct Failing {
    /// The server, the token or the start: since when, why, and when this was said last.
    server: Option<(Behind, Timestamp)>,
    /// Each file that is not fresh, and whether the server denies the file's secret.
    files: BTreeMap<String, (Behind, bool)>,
}

impl AgentLog {
    /// Reads the last lines of the log. Lines that are not podkey's are skipped.
    pub(in crate::cli::status) fn parse(text: &str, now: Timestamp) -> Self {
        // More lines were written than were read.
        let is_cut = text.lines().count() >= usize::try_from(MAX_LOG_LINES).unwrap_or(usize::MAX);
        let mut failing = Failing::default();
        let mut is_first = true;
        let mut retry = None;
        for line in text.lines() {
            if let Ok(line) = serde_json::from_str::<Line>(line) {
                if line.level == "WARN" && !line.reason.is_empty() {
                    retry = Some(clean(&line.reason));
                }
                failing.follow(line, is_cut && is_first);
                is_first = false;
            }
        }
        let is_over = |said: Timestamp| now.duration_since(said) > LONGEST_SILENCE;
        let server = failing
            .server
            .filter(|(_, said)| !is_over(*said))
            .map(|(behind, _)| behind);
        // A file says more than the server: which secret, and what became of it.
        let file = failing
            .files
            .into_values()
            .map(|(behind, _)| behind)
            .min_by_key(|behind| behind.since);
        Self {
            behind: file.or(server),
            retry,
        }
    }
}

impl Failing {
    fn follow(&mut self, line: Line, is_longer: bool) {
        let Line {
            timestamp,
            message,
            reason,
            file,
            state,
            ..
        } = line;
        let behind = |why: &str| Behind {
            since: timestamp,
            why: clean(why),
            is_longer,
        };
        let warns = message.ends_with(TRIED_AGAIN) && !message.starts_with(NOT_REVOKED);
        match message.as_str() {
            // A denied secret counts as a failure of the server. A file that was late meanwhile has no line of its own.
            ANSWERS_AGAIN => {
                self.server = None;
                self.files.retain(|_, (_, is_denied)| !*is_denied);
            }
            NOT_FRESH => {
                let why = behind(&format!("{file}: {reason}"));
                self.files.insert(file, (why, state == "Denied"));
            }
            FRESH_AGAIN => {
                self.files.remove(&file);
            }
            message if warns || message == NOTHING_REFRESHES => {
                let mut now = behind(&reason);
                if let Some((first, _)) = &self.server {
                    (now.since, now.is_longer) = (first.since, first.is_longer);
                }
                self.server = Some((now, timestamp));
            }
            message if message.starts_with(KEEPING_FRESH) => self.server = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(minute: u32, message: &str, fields: &str) -> String {
        format!(
            r#"{{"timestamp":"2026-11-30T01:{minute:02}:00.847730Z","level":"WARN","message":"{message}"{fields}}}"#
        )
    }

    fn parse(lines: &[String]) -> Option<(String, String, bool)> {
        let now = "2026-11-30T01:59:00Z".parse().unwrap();
        let behind = AgentLog::parse(&lines.join("\n"), now).behind?;
        let since = behind.since.to_string();
        Some((since[14..16].to_owned(), behind.why, behind.is_longer))
    }

    fn failed(minute: u32, reason: &str) -> String {
        let message = format!("a secret was not read: {TRIED_AGAIN}");
        line(minute, &message, &format!(r#","reason":"{reason}""#))
    }

    #[test]
    fn behind_since_the_first_of_the_warnings_for_the_reason_of_the_last() {
        let lines = [line(1, "started", ""), failed(2, "refused"), failed(3, "sealed")];
        assert_eq!(parse(&lines), Some(("02".to_owned(), "sealed".to_owned(), false)));
    }

    #[test]
    fn an_init_that_tries_again_says_why() {
        let now = "2026-11-30T01:59:00Z".parse().unwrap();
        let lines = [
            line(
                1,
                "login failed, trying again",
                r#","reason":"403: permission denied","attempt":1"#,
            ),
            line(2, "login failed, trying again", r#","reason":"sealed","attempt":2"#).replace("WARN", "DEBUG"),
            "no json".to_owned(),
        ];
        let log = AgentLog::parse(&lines.join("\n"), now);
        assert_eq!(log.retry.as_deref(), Some("403: permission denied"));
    }

    #[test]
    fn a_server_that_answers_again_ends_it_and_lines_of_others_do_nothing() {
        let lines = [failed(2, "sealed"), line(3, ANSWERS_AGAIN, "")];
        assert_eq!(parse(&lines), None);
        assert_eq!(
            parse(&["no json".to_owned(), "{}".to_owned(), "[1]".to_owned(), String::new()]),
            None
        );
    }

    #[test]
    fn a_file_that_is_gone_is_behind_until_that_file_is_fresh_again() {
        let gone = line(
            5,
            NOT_FRESH,
            r#","file":"a","reason":"no secret at kv/data/a","state":"Gone""#,
        );
        let other = line(6, FRESH_AGAIN, r#","file":"b""#);
        let lines = [gone.clone(), other];
        assert_eq!(
            parse(&lines),
            Some(("05".to_owned(), "a: no secret at kv/data/a".to_owned(), false))
        );
        assert_eq!(parse(&[gone, line(7, FRESH_AGAIN, r#","file":"a""#)]), None);
    }

    #[test]
    fn a_token_that_is_not_revoked_and_a_warning_of_yesterday_leave_the_files_fresh() {
        let lines = [line(5, &format!("{NOT_REVOKED}: {TRIED_AGAIN}"), "")];
        assert_eq!(parse(&lines), None);
        let later = "2026-11-30T04:03:00Z".parse().unwrap();
        assert_eq!(AgentLog::parse(&failed(2, "x"), later).behind, None);
    }

    #[test]
    fn a_failure_that_is_older_than_the_lines_is_longer() {
        let lines: Vec<_> = (0..300).map(|number| failed(number / 10, "x")).collect();
        assert_eq!(parse(&lines), Some(("00".to_owned(), "x".to_owned(), true)));
    }
}
