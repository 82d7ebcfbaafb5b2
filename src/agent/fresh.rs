//! `podkey-agent fresh`: whether the files that the sidecar keeps are fresh. The sidecar's liveness probe runs it, if the operator's
//! config asks for the probe: the kubelet counts failed probes, and metrics and events show them. So nobody needs a port in the pod,
//! and the agent needs no rights. The probe never restarts the sidecar: its threshold is out of reach.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::volume::{FileState, FileStatus, read_status};
use super::{Runtime, report::Failure, sidecar};
use crate::http::clean;
use crate::plan::{Plan, WhenGone};

/// How much later than announced the sidecar may ask the server: one round may have many requests, each with a deadline.
const MAX_DELAY: Duration = Duration::from_secs(5 * 60);
/// The longest report, in bytes: the kubelet puts the report into an event, which holds 1 KiB.
const MAX_REPORT_BYTES: usize = 900;

/// Why the files are not fresh, as one line. None: they are fresh. The line is the same as long as the reason is: the kubelet then
/// counts the event up, in place of a new event for each probe.
pub(super) fn problems(runtime: &Runtime) -> Option<String> {
    found(runtime, SystemTime::now()).map(|text| clean(&text, MAX_REPORT_BYTES))
}

fn found(runtime: &Runtime, now: SystemTime) -> Option<String> {
    let plan = match runtime.read_plan() {
        Ok((plan, _)) => plan,
        Err(Failure { message, .. }) => return Some(message),
    };
    // Without refresh no file changes.
    plan.refresh.as_ref()?;
    match read_status(&runtime.paths, &plan) {
        Ok(status) => report(&plan, &status, now),
        Err(why) => Some(why),
    }
}

/// One sentence about each file that is not fresh.
fn report(plan: &Plan, files: &BTreeMap<String, FileStatus>, now: SystemTime) -> Option<String> {
    let problems = files.iter().filter_map(|(name, file)| {
        // The pod's author chose that the file goes with its secret.
        let is_deleted = file.state == FileState::Gone && sidecar::when_gone(plan, name, file) == WhenGone::Delete;
        let why = problem(file, is_deleted, now)?;
        Some(format!("{name}: {why}"))
    });
    let text = problems.collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then_some(text)
}

fn problem(file: &FileStatus, is_deleted: bool, now: SystemTime) -> Option<String> {
    if file.state != FileState::Fresh && !is_deleted {
        let state = file.state.word();
        return Some(match &file.reason {
            Some(reason) => format!("{state}: {reason}"),
            None => state.to_owned(),
        });
    }
    let announced = file.next_try?;
    let is_late = now.duration_since(announced).ok()? > MAX_DELAY;
    let announced = humantime::format_rfc3339_seconds(announced);
    is_late.then(|| format!("the sidecar should have asked the server at {announced}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    const WEB: &str = r#"{"secret":"apps/data/web","format":"dotenv","file":"web.env","mode":"0440"}"#;

    /// A plan with these files, which may be gone.
    fn plan(files: &str) -> Plan {
        let head = r#""version":1,"connection":{"name":"c","address":"https://v"},"login":{"method":"kubernetes","mount":"k","role":"r"}"#;
        let text = format!(r#"{{{head},"budget":"5m","files":[{files}],"refresh":{{"interval":"30s"}}}}"#);
        Plan::parse(&text).unwrap()
    }

    fn file(state: FileState, next_try: Option<SystemTime>) -> FileStatus {
        FileStatus {
            next_try,
            ..FileStatus::new("apps/data/web", state)
        }
    }

    fn reported(file: FileStatus, now: SystemTime) -> Option<String> {
        report(&plan(WEB), &BTreeMap::from([("web.env".to_owned(), file)]), now)
    }

    #[test]
    fn fresh_files_have_no_report_and_each_other_state_has_one() {
        assert_eq!(reported(file(FileState::Fresh, None), NOW), None);
        for state in [
            FileState::Stale,
            FileState::Invalid,
            FileState::Unwritten,
            FileState::Denied,
            FileState::Gone,
            FileState::Expired,
            FileState::Failed,
        ] {
            assert_eq!(
                reported(file(state, None), NOW),
                Some(format!("web.env: {}", state.word()))
            );
        }
    }

    #[test]
    fn a_sidecar_that_hangs_is_reported_and_a_slow_one_is_not() {
        let waiting = file(FileState::Fresh, Some(NOW));
        assert_eq!(reported(waiting.clone(), NOW + MAX_DELAY), None);
        let after = |seconds| reported(waiting.clone(), NOW + MAX_DELAY + Duration::from_secs(seconds)).unwrap();
        assert_eq!(
            after(1),
            "web.env: the sidecar should have asked the server at 1970-01-01T00:00:00Z"
        );
        assert_eq!(after(1), after(3600), "each probe would make an event of its own");
    }

    #[test]
    fn a_file_that_goes_with_its_secret_as_the_author_chose_is_no_problem() {
        let file = |file: &str| format!(r#"{{"secret":"apps/data/web","format":"raw","mode":"0440",{file}}}"#);
        let plan = plan(
            &[
                file(r#""key":"k","file":"a","whenGone":"delete""#),
                file(r#""key":"k","file":"b""#),
                file(r#""file":"each/{{ .SecretKey }}","whenGone":"delete""#),
            ]
            .join(","),
        );
        let reported = |name: &str, state, now| {
            let status = FileStatus {
                next_try: Some(NOW),
                ..FileStatus::new("apps/data/web", state)
            };
            report(&plan, &BTreeMap::from([(name.to_owned(), status)]), now)
        };
        assert_eq!(reported("a", FileState::Gone, NOW), None);
        assert_eq!(reported("each/x", FileState::Gone, NOW), None);
        assert_eq!(reported("b", FileState::Gone, NOW).unwrap(), "b: gone");
        assert_eq!(reported("a", FileState::Denied, NOW).unwrap(), "a: denied");
        let late = reported("a", FileState::Gone, NOW + 2 * MAX_DELAY).unwrap();
        assert!(late.contains("should have asked"), "{late}");
    }

    /// The report goes to whoever looks at events, often on a terminal.
    #[test]
    fn no_report_steers_a_terminal() {
        let steering = "\u{1b}]0;x\u{7}\nb";
        let runtime = |plan: Option<String>| {
            Runtime::new(None, crate::telemetry::LogFormat::Json).with_plan(plan.map(Into::into), None)
        };
        for plan in [
            None,
            Some(format!("{{\"connection\":\"{steering}\"}}")),
            Some(steering.to_owned()),
        ] {
            let text = problems(&runtime(plan)).unwrap();
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        let denied = FileStatus {
            reason: Some(steering.to_owned()),
            ..file(FileState::Denied, None)
        };
        let text = clean(&reported(denied, NOW).unwrap(), MAX_REPORT_BYTES);
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }

    #[test]
    fn a_report_fits_into_an_event() {
        let stale = FileStatus {
            reason: Some("ä".repeat(400)),
            ..file(FileState::Denied, None)
        };
        let files = (0..1000)
            .map(|number| (format!("{number}.env"), stale.clone()))
            .collect();
        let text = clean(&report(&plan(WEB), &files, NOW).unwrap(), MAX_REPORT_BYTES);
        assert!(text.len() < 1000 && text.ends_with('…'), "{}", text.len());
    }
}
