//! What in a pod is not as podkey's webhook sets it up. Every failure with exit code 64 is one of these faults, so that
//! their messages and hints stand in one place.

use super::Failure;
use crate::agent::volume::env;
use crate::http::clean;
use crate::plan::{BUDGET_ENV, EnvName, ExitCode, Invalid, MAX_BUDGET, PLAN_ENV};

/// A part of the pod's setup that is wrong.
#[derive(Debug)]
pub(in crate::agent) enum SetupFault {
    /// The agent's own command line.
    CommandLine(&'static str),
    /// The text of `PODKEY_PLAN`. The reason continues a sentence that begins with the variable's name.
    PlanVariable(String),
    /// The plan of the job hooks.
    PlanFile {
        /// The path of the file.
        path: String,
        /// Why it cannot be used.
        why: String,
    },
    /// The sidecar runs with a plan that has no refresh.
    NothingToRefresh,
    /// The text of `PODKEY_BUDGET`. The reason continues a sentence that begins with the variable's name.
    Budget(String),
    /// The report of how `init` ended.
    Outcome {
        /// The path of the file.
        path: String,
        /// Why it cannot be used.
        why: String,
        /// What is unknown without it.
        unknown: &'static str,
    },
    /// A command is started in a pod in which `init` delivered nothing, as the file with this path says.
    NothingDelivered(String),
    /// The name of a variable that `init` reports.
    VariableName { name: String, why: String },
    /// The value of a variable that `init` reports.
    VariableUnreadable { name: EnvName, error: std::io::Error },
    /// The value of a variable that `init` reports has no file.
    VariableMissing(EnvName),
    /// The directory of the variables' values.
    VariablesUnreadable(std::io::Error),
    /// A delivered file.
    FileUnreadable { path: String, why: String, user: u32 },
    /// The hooks run as a user for whom `init` did not write.
    WrongUser { actual: u32, planned: u32 },
    /// The container's command, which `exec` starts.
    Command { program: String, error: std::io::Error },
    /// The job hook that the pod's author set.
    NextHook { script: String, why: String },
    /// The container's sandbox allows no signal handler.
    Signals,
    /// The container's sandbox allows no event loop.
    EventLoop(std::io::Error),
}

impl From<SetupFault> for Failure {
    fn from(fault: SetupFault) -> Self {
        Self::new(ExitCode::Setup, fault.message(), fault.hint())
    }
}

impl SetupFault {
    /// The name of a variable in the outcome of `init` is not valid.
    pub(in crate::agent) fn variable_name(name: &str, why: &Invalid) -> Self {
        Self::VariableName {
            name: clean(name, 64),
            why: why.to_string(),
        }
    }

    /// What is wrong, and where.
    fn message(&self) -> String {
        match self {
            Self::CommandLine(why) => (*why).to_owned(),
            Self::PlanVariable(why) => format!("{PLAN_ENV}{why}"),
            Self::PlanFile { path, why } => format!("{path}: {why}"),
            Self::NothingToRefresh => "the plan asks for no refresh".to_owned(),
            Self::Budget(why) => format!("{BUDGET_ENV}{why}"),
            Self::Outcome { path, why, unknown } => format!("{path}: {why}, so it is not known {unknown}"),
            Self::NothingDelivered(path) => format!("{path}: podkey-init delivered nothing"),
            Self::VariableName { name, why } => format!("the variable {name}: {why}"),
            Self::VariableUnreadable { name, error } => {
                format!(
                    "cannot read the value of {name} from {}: {error}",
                    env::path(name.as_str())
                )
            }
            Self::VariableMissing(name) => {
                format!(
                    "the value of {name} is gone: there is no file {}",
                    env::path(name.as_str())
                )
            }
            Self::VariablesUnreadable(error) => format!("cannot read {}: {error}", env::path("").trim_end_matches('/')),
            Self::FileUnreadable { path, why, .. } => format!("cannot read the file {path}: {why}"),
            Self::WrongUser { actual, planned } => {
                format!("the runner runs as user {actual}, but the job's secrets are made for user {planned}")
            }
            Self::Command { program, error } => format!("cannot start the command {program}: {error}"),
            Self::NextHook { script, why } => format!("cannot run the pod's own hook {script}: {why}"),
            Self::Signals => "signals cannot be handled in this container".to_owned(),
            Self::EventLoop(error) => format!("cannot start the event loop: {error}"),
        }
    }

    /// What to do.
    fn hint(&self) -> String {
        let hint = match self {
            Self::CommandLine(_) => "see podkey-agent --help",
            Self::PlanVariable(_) => "podkey's webhook writes PODKEY_PLAN; agent and webhook come from one release",
            Self::PlanFile { .. } => {
                "podkey writes this file: job hooks work only in a pod that podkey's webhook changed"
            }
            Self::NothingToRefresh => "podkey's webhook adds the sidecar only to pods with podkey.dev/refresh",
            Self::Budget(_) => {
                let longest = humantime::format_duration(MAX_BUDGET);
                return format!("write a duration such as 30s or 5m, at most {longest}");
            }
            Self::Outcome { .. } => {
                "podkey-init writes this file after all secrets are delivered: read the log of podkey-init, and delete the pod"
            }
            Self::NothingDelivered(_) => "read the log of podkey-init",
            Self::VariableName { .. } => "",
            Self::VariableUnreadable { .. } => {
                "declare the container's runAsUser, so that podkey-init writes for that user"
            }
            Self::VariableMissing(_) => {
                "podkey-init delivered the file: nothing else may mount or change podkey-secrets; delete the pod"
            }
            Self::VariablesUnreadable(_) => "the runner must be the user for whom podkey-init wrote the files",
            Self::FileUnreadable { user, .. } => {
                return format!("the runner must be user {user}: podkey-init wrote the files for that user");
            }
            Self::WrongUser { actual, .. } => {
                return format!("declare `runAsUser: {actual}` in the runner container's securityContext");
            }
            Self::Command { error, .. } if error.kind() == std::io::ErrorKind::ArgumentListTooLong => {
                "arguments and environment are too large together: deliver large values with podkey.dev/files"
            }
            Self::Command { .. } => "correct `command` in the container's spec",
            Self::NextHook { .. } => "correct the hook in the scale set's template",
            Self::Signals | Self::EventLoop(_) => "",
        };
        hint.to_owned()
    }
}
