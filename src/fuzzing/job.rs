//! What a job's hooks read and write: the event's payload, the facts of the job, the file `GITHUB_ENV`, the lines of a hook's log.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a fuzz target panics if a law is broken"
)]

use super::input;
use crate::job::commands::{Level, add_mask, annotation, plain};
use crate::job::export::EnvFile;
use crate::job::facts::JobFacts;
use crate::job::{placeholders, policy};
use crate::plan::{EnvName, PathTemplate};
use crate::secret::Secret;

/// Records: the event's payload; a path with placeholders; a name and a value for `GITHUB_ENV`; facts of the job, `NAME=value`.
/// Laws: a fact cannot leave its segment of the path; the runner reads each variable as it was, and no text as a command.
pub fn job(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let records: Vec<&str> = text.split(input::SEPARATOR).collect();
    let record = |index: usize| records.get(index).copied().unwrap_or_default();
    let variable = |name: &str| {
        let facts = records.iter().skip(4).filter_map(|fact| fact.split_once('='));
        facts
            .filter(|(fact, _)| *fact == name)
            .map(|(_, value)| value.to_owned())
            .next_back()
    };
    let facts = JobFacts::read(variable, Some(record(0)));
    if let Err(refused) = policy::check(&[], &facts) {
        input::insist_on_a_line(&refused.to_string());
    }
    if let Ok(path) = record(1).parse::<PathTemplate>() {
        insist_on_segments(&path, &facts);
    }
    if let Ok(name) = record(2).parse::<EnvName>() {
        insist_on_the_same_value(&name, record(3));
    }
    insist_on_lines(record(3));
}

fn insist_on_segments(path: &PathTemplate, facts: &JobFacts) {
    let written = path.as_path().as_str();
    match placeholders::fill(path, facts, Some(&facts.event)) {
        Ok(filled) => {
            // Only `{repository}` has two segments.
            let more = written.matches("{repository}").count();
            let expected = written.split('/').count() + more;
            assert_eq!(
                filled.as_str().split('/').count(),
                expected,
                "{written} became {filled}"
            );
            assert!(
                !filled.segments().any(|segment| matches!(segment, "." | "..")),
                "{filled}"
            );
        }
        Err(error) => input::insist_on_a_line(&error.to_string()),
    }
}

/// Reads the file as the runner does (`EnvFileKeyValuePairs`).
fn insist_on_the_same_value(name: &EnvName, value: &str) {
    let mut file = EnvFile::new(|| 7);
    if let Err(error) = file.push(name, &Secret::from(value.as_bytes().to_vec())) {
        return input::insist_on_a_line(&error.to_string());
    }
    let written = file.into_text();
    let written = std::str::from_utf8(written.expose()).expect("the file is text");
    let (key, rest) = written.split_once("<<").expect("a delimiter");
    let (delimiter, rest) = rest.split_once('\n').expect("a line");
    let end = format!("\n{delimiter}\n");
    let at = format!("\n{rest}").find(&end).expect("an end");
    assert_eq!(key, name.as_str());
    assert_eq!(rest.get(..at.saturating_sub(1)), Some(value));
    assert_eq!(
        rest.len(),
        at.saturating_sub(1) + end.len() - usize::from(at == 0),
        "text behind the end"
    );
}

fn insist_on_lines(text: &str) {
    let ends = |line: &str| line.matches(['\n', '\r']).count();
    let line = plain(text);
    assert_eq!(ends(&line), 1, "{line:?}");
    assert!(!line.starts_with("::") && !line.contains("##["), "a command: {line:?}");
    let line = annotation(Level::Error, text, text);
    assert_eq!(ends(&line), 1, "{line:?}");
    let mut command = Vec::new();
    add_mask(text, &mut command);
    let command = String::from_utf8(command).expect("a command is text");
    assert_eq!(ends(&command), 1, "{command:?}");
    let data = command
        .strip_prefix("::add-mask::")
        .expect("a mask")
        .trim_end_matches('\n');
    let read = data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%");
    assert_eq!(read, text);
}
