//! The state of `podkey-sidecar`, from its container status and its log.

use k8s_openapi::api::core::v1::ContainerStatus;

use super::Sidecar;
use super::log::AgentLog;
use super::report::Report;

/// The state, and why it is not as it should be. `log` is None where the log could not be read.
pub(super) fn state(status: Option<&ContainerStatus>, log: Option<&AgentLog>) -> (Sidecar, Option<String>) {
    let Some(state) = status.and_then(|status| status.state.as_ref()) else {
        return (Sidecar::Waiting, None);
    };
    if state.running.is_some() {
        return match log {
            None => (Sidecar::Unknown, None),
            Some(AgentLog { behind: None, .. }) => (Sidecar::Fresh, None),
            Some(AgentLog {
                behind: Some(behind), ..
            }) => {
                let sidecar = Sidecar::Behind {
                    since: behind.since,
                    is_longer: behind.is_longer,
                };
                (sidecar, Some(behind.why.clone()).filter(|why| !why.is_empty()))
            }
        };
    }
    if let Some(end) = &state.terminated {
        let why = end.message.as_deref().and_then(Report::parse).map(|report| report.text);
        return match end.exit_code {
            0 => (Sidecar::Ended, None),
            code => (Sidecar::Failed { code }, why),
        };
    }
    let last = status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref());
    match last {
        None => (Sidecar::Waiting, None),
        Some(_) => (Sidecar::Restarting, None),
    }
}
