//! The annotations `podkey.dev/refresh` and `podkey.dev/on-change`.

use crate::inject::problem::{Problems, quoted};
use crate::inject::request::injection::InjectionRequest;
use crate::inject::request::requested::Requested;
use crate::inject::request::rules::{Authored, report};
use crate::inject::request::value::AnnotationValue;
use crate::inject::words::keys::ON_CHANGE;
use crate::plan::rules::{Rule, Subject, Violation};
use crate::plan::{Destination, Interval, MAX_ON_CHANGE, OnChange, spelling};

/// The longest list of actions, in bytes.
const MAX_ACTIONS_BYTES: usize = 16 * 1024;

/// Parses `podkey.dev/refresh`.
pub(super) fn interval(value: &mut AnnotationValue<'_>, request: &mut InjectionRequest) {
    let Some(word) = value.word() else {
        request.refresh = Requested::Invalid;
        return;
    };
    if word == "never" {
        return;
    }
    let interval = match (humantime::parse_duration(word), word.parse::<Interval>()) {
        (Err(_), _) => Err("is neither \"never\" nor a duration (for example 30s or 5m)".to_owned()),
        (Ok(_), interval) => interval.map_err(|why| why.to_string()),
    };
    request.refresh = interval
        .map_err(|why| value.problem(format!("{} {why}", quoted(word))))
        .ok()
        .into();
}

/// Parses `podkey.dev/on-change`.
pub(super) fn on_change(value: &mut AnnotationValue<'_>, request: &mut InjectionRequest) {
    request.on_change = value.parsed_by(actions).unwrap_or_default();
}

/// One action in each line.
fn actions(text: &str, problems: &mut Problems) -> Vec<OnChange> {
    if text.len() > MAX_ACTIONS_BYTES {
        problems.push(ON_CHANGE, format!("is longer than {MAX_ACTIONS_BYTES} bytes"));
        return Vec::new();
    }
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        problems.push(
            ON_CHANGE,
            "is empty: write one action in each line, for example signal:SIGHUP:nginx, touch:reload or \
             http:POST:http://127.0.0.1:9000/-/reload",
        );
    }
    // Also before the lines are parsed: a request may have any number of lines.
    if lines.len() > MAX_ON_CHANGE {
        let subject = Subject::OnChange;
        let rule = Rule::TooManyActions(lines.len());
        report([Violation { subject, rule }].into_iter(), Authored::default(), problems);
        return Vec::new();
    }
    let mut parsed = |line: &str| {
        let action = spelling::parse(line, spelling::of_plain_text);
        // Authors have no directory of its own.
        let in_directory = |action: &OnChange| action.touched().is_some_and(|file| file.directory().is_some());
        action
            .and_then(|action| match in_directory(&action) {
                true => Err(Destination::has_colon().to_string()),
                false => Ok(action),
            })
            .map_err(|why| problems.push(ON_CHANGE, format!("{} {why}", quoted(line))))
            .ok()
    };
    lines.into_iter().filter_map(&mut parsed).collect()
}
