//! The termination message of the agent, as `agent/report` writes it:
//! `podkey CODE stage=STAGE connection=NAME: MESSAGE. HINT`.

use super::text::clean;

/// How `init` says that the job will fail in the pod's place.
const LEFT_TO_THE_JOB: &str = "left to the job hook: ";

/// A termination message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The code of the failure; 0: the work is done.
    pub(super) code: u8,
    /// Whether the container ended well and the job fails in its place.
    pub(super) is_left_to_the_job: bool,
    /// What went wrong or was done, and what to do.
    pub(super) text: String,
}

impl Report {
    /// None: the message is not the agent's.
    pub(super) fn parse(message: &str) -> Option<Self> {
        let (code, text) = split(message.trim())?;
        let inner = text.strip_prefix(LEFT_TO_THE_JOB).and_then(split);
        let (is_left_to_the_job, (code, text)) = (inner.is_some(), inner.unwrap_or((code, text)));
        Some(Self {
            code,
            is_left_to_the_job,
            text: clean(text),
        })
    }

    /// The number of files and of variables that a successful `init` says to have delivered.
    pub(super) fn delivered(&self) -> Option<(usize, usize)> {
        let list = self.text.strip_prefix("delivered ")?;
        let count = |unit: &str| {
            let mut words = list.split([' ', '.', ',']).peekable();
            while let Some(word) = words.next() {
                if words.peek().is_some_and(|next| next.trim_end_matches('s') == unit) {
                    return word.parse().ok();
                }
            }
            None
        };
        Some((count("file").unwrap_or(0), count("variable").unwrap_or(0)))
    }
}

/// The code, and the text after the head.
fn split(message: &str) -> Option<(u8, &str)> {
    let (code, rest) = message.strip_prefix("podkey ")?.split_once(" stage=")?;
    let (_, text) = rest.split_once(": ")?;
    Some((code.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_agent_writes() {
        let report =
            Report::parse("podkey 0 stage=write connection=default: delivered 1 file and 12 variables.").unwrap();
        assert_eq!((report.code, report.delivered()), (0, Some((1, 12))));
        let report = Report::parse("podkey 77 stage=login connection=main: denied: no role. check the role").unwrap();
        assert_eq!(report.text, "denied: no role. check the role");
        assert_eq!(
            (report.code, report.is_left_to_the_job, report.delivered()),
            (77, false, None)
        );
    }

    #[test]
    fn a_failure_that_is_left_to_the_job_is_a_failure() {
        let message = "podkey 0 stage=login connection=a: left to the job hook: podkey 69 stage=login connection=a: no answer. look.";
        let report = Report::parse(message).unwrap();
        assert_eq!((report.code, report.is_left_to_the_job), (69, true));
        assert_eq!(report.text, "no answer. look.");
    }

    #[test]
    fn a_message_of_another_program_is_none() {
        for message in [
            "",
            "podkey",
            "podkey x stage=a b: c",
            "podkey 999 stage=a b: c",
            "Error: podkey 1 stage=a: b",
        ] {
            assert_eq!(Report::parse(message), None, "{message}");
        }
    }
}
