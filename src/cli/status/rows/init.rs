//! The state of `podkey-init`, from its container status.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus};
use k8s_openapi::jiff::Timestamp;

use super::report::Report;
use super::text::clean;
use super::{Health, Init};
use crate::plan::ExitCode;

/// What the container status of `podkey-init` tells.
pub(super) struct InitFacts {
    pub(super) init: Init,
    pub(super) since: Option<Timestamp>,
    pub(super) why: Option<String>,
    /// Files and variables.
    pub(super) delivered: Option<(usize, usize)>,
}

impl InitFacts {
    fn new(init: Init, since: Option<Timestamp>, why: Option<String>) -> Self {
        Self {
            init,
            since,
            why,
            delivered: None,
        }
    }
}

/// Reads the status.
pub(super) fn facts(status: &ContainerStatus) -> InitFacts {
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let Some(state) = &status.state else {
        return InitFacts::new(Init::neutral("waiting"), None, None);
    };
    if let Some(end) = &state.terminated {
        return ended(end);
    }
    // The last try failed, and the next one runs or is due.
    let failed = last.filter(|last| last.exit_code != 0);
    if let Some(running) = &state.running {
        let since = running.started_at.as_ref().map(|time| time.0);
        let why = failed.and_then(|last| ended(last).why);
        return InitFacts::new(Init::neutral("running"), since, why);
    }
    if let Some(last) = failed {
        return ended(last);
    }
    let waiting = state.waiting.as_ref();
    let reason = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or_default();
    match reason {
        "" | "PodInitializing" | "ContainerCreating" => InitFacts::new(Init::neutral("waiting"), None, None),
        reason => {
            let message = waiting
                .and_then(|waiting| waiting.message.as_deref())
                .unwrap_or_default();
            let why = clean(&format!("{reason}: {message}"));
            let why = why.trim_end_matches([':', ' ']).to_owned();
            InitFacts::new(Init::bad("waiting"), None, Some(why))
        }
    }
}

/// A try that has ended.
fn ended(end: &ContainerStateTerminated) -> InitFacts {
    let since = end.finished_at.as_ref().map(|time| time.0);
    let message = end.message.as_deref().unwrap_or_default();
    let report = Report::parse(message);
    let code = match &report {
        Some(report) if report.is_left_to_the_job => i32::from(report.code),
        _ => end.exit_code,
    };
    if code == 0 {
        let delivered = report.as_ref().and_then(Report::delivered);
        return InitFacts {
            delivered,
            ..InitFacts::new(Init::good("done"), since, None)
        };
    }
    let known = ExitCode::ALL
        .into_iter()
        .find(|known| i32::from(known.number()) == code);
    let init = Init {
        word: known.map_or_else(|| kubelets_word(end.reason.as_deref()), |known| known.name().to_owned()),
        code: Some(code),
        health: Health::Bad,
    };
    let why = match report {
        Some(report) if report.is_left_to_the_job => format!("the job fails: {}", report.text),
        Some(report) => report.text,
        None => match clean(message) {
            text if text.is_empty() => known.map_or_else(String::new, |known| known.meaning().to_owned()),
            text => text,
        },
    };
    InitFacts::new(init, since, Some(why).filter(|why| !why.is_empty()))
}

/// `OOMKilled` and the like; the kubelet's `Error` says nothing.
fn kubelets_word(reason: Option<&str>) -> String {
    match reason {
        None | Some("" | "Error") => "failed".to_owned(),
        Some(reason) => clean(reason),
    }
}
