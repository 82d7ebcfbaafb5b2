//! The door of the fuzz target `status`: the agent's termination message and log, which any program in a pod can write.

use k8s_openapi::jiff::Timestamp;

use super::log::AgentLog;
use super::report::Report;

/// A termination message, and the last lines of a log. Laws: what is shown is one line without control characters, so that no pod
/// can steer the reader's terminal.
pub fn status(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(report) = Report::parse(&text) {
        assert!(!report.text.contains(char::is_control), "{:?}", report.text);
        report.delivered();
    }
    let log = AgentLog::parse(&text, Timestamp::UNIX_EPOCH);
    let shown = log.retry.into_iter().chain(log.behind.map(|behind| behind.why));
    shown.for_each(|line| assert!(!line.contains(char::is_control), "{line:?}"));
}
