//! The runner's job hooks: `job-started` masks and exports the job's secrets before the first step, or fails the job;
//! `job-completed` clears the secrets after the last step.
//! <https://docs.github.com/en/actions/how-tos/manage-runners/self-hosted-runners/run-scripts>
//!
//! The hooks write to standard output only, in one order: the runner reads standard error beside it, and would print a line
//! from there before it has read the masks.

mod clear;
mod completed;
mod console;
mod copies;
mod exports;
mod next;
mod own;
mod present;
mod runner_file;
mod started;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use self::console::PlainLines;
use super::process::block_on;
use super::report::{Failure, RunReport, RunStage, SetupFault};
use super::volume::{ContainerPaths, SeenFiles, below_secrets, bin, linked};
use crate::job::commands::{self, Level};
use crate::job::facts::JobFacts;
use crate::plan::{BoundPod, ExitCode, JOB_COMPLETED, JobPlan, NEXT_JOB_COMPLETED_ENV, Plan};
use crate::secret::Secret;
use crate::vault::{Cancellation, Session, Vault, sender_text};

/// The part of the deadline that the started hook keeps for clearing files and revoking the client token.
const RESERVE: Duration = Duration::from_secs(2);

/// What a hook works with, as `main` found it.
#[derive(Debug)]
pub struct Hook {
    /// The environment: the variables of the runner, of the job, and of the proxy.
    variables: BTreeMap<OsString, OsString>,
    seen: SeenFiles,
}

/// The plan of a pod that has job hooks.
struct HookPlan {
    plan: Plan,
    job: JobPlan,
}

/// How far a run of the started hook is. Read when the run ends, also when the deadline or a signal ends it.
struct HookProgress {
    stage: Cell<RunStage>,
    /// The server that gives the job's own secrets.
    vault: OnceCell<Vault>,
    /// The job's own client token, after the login.
    session: OnceCell<Session>,
    /// A delivered secret lives only as long as the client token.
    keep_token: Cell<bool>,
    /// The masks of the secrets that `init` delivered were printed, or could not be printed.
    masked: Cell<bool>,
    stop: Cancellation,
}

impl HookProgress {
    fn new() -> Self {
        Self {
            stage: Cell::new(RunStage::Job),
            vault: OnceCell::new(),
            session: OnceCell::new(),
            keep_token: Cell::new(false),
            masked: Cell::new(false),
            stop: Cancellation::default(),
        }
    }

    async fn revoke(&mut self) {
        if let (Some(vault), Some(session)) = (self.vault.take(), self.session.take()) {
            vault.revoke(&session, RESERVE).await;
        }
    }
}

/// One file for the job.
struct HookFile<'a> {
    /// The path in the containers.
    path: Cow<'a, str>,
    /// Permission bits.
    mode: u32,
    bytes: &'a Secret,
}

impl Hook {
    /// `root` is the prefix of every path of the plan, outside a container.
    pub fn new(variables: BTreeMap<OsString, OsString>, root: Option<PathBuf>) -> Self {
        Self {
            variables,
            seen: SeenFiles::new(ContainerPaths::new(root)),
        }
    }

    /// The value of a variable, if it is text and not empty.
    fn text(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(std::ffi::OsStr::new(name))?.to_str()?;
        (!value.is_empty()).then_some(value)
    }

    /// The plan of the job hooks.
    fn plan(&self) -> Result<HookPlan, Failure> {
        let paths = self.seen.paths();
        let fault = |why| SetupFault::PlanFile {
            path: bin::plan_path(paths),
            why,
        };
        let plan = bin::read_plan(paths).map_err(fault)?;
        let job = plan.job.clone();
        let job = job.ok_or_else(|| fault("it has nothing for job hooks".to_owned()))?;
        Ok(HookPlan { plan, job })
    }

    /// The facts of the job. `event` is the text of the event's payload.
    fn facts(&self, event: Option<&str>) -> JobFacts {
        JobFacts::read(|name| self.text(name).map(str::to_owned), event)
    }

    /// Names the job on one line, for the runner's log and the server's audit log. Where `init` named no pod, the runner's name is
    /// given, which is the pod's name in ARC.
    fn sender(&self, facts: &JobFacts, pod: Option<&BoundPod>) -> String {
        let runner = self.text("RUNNER_NAME").filter(|_| pod.is_none());
        // GitHub's limits: 39 characters for an owner and 100 for a repository, 64 for a runner.
        let claimed = [
            ("claimed-runner", runner.unwrap_or_default(), 64),
            ("claimed-repository", &facts.repository, 140),
            ("claimed-run", &facts.run_id, 20),
            ("claimed-attempt", &facts.run_attempt, 10),
            ("claimed-job", &facts.job, 100),
        ];
        sender_text("job", pod, &claimed)
    }

    /// Writes the job's files: first the files below `/podkey/secrets` under temporary names, then the files that are mounted
    /// on their own, which can only be rewritten, and then the former get their names.
    fn write(&self, plan: &Plan, files: &[HookFile<'_>]) -> Result<(), Failure> {
        let linked = |path: &str| {
            let mut destinations = plan.destinations().enumerate();
            let (number, destination) = destinations.find(|(_, destination)| destination.path() == path)?;
            linked::shown(plan, number, destination).map(Cow::Owned)
        };
        let shown = |path| below_secrets(path).map(Cow::Borrowed).or_else(|| linked(path));
        let mut staged = None;
        let mut mounted = Vec::new();
        for file in files {
            let Some(shown) = shown(&file.path) else {
                mounted.push(file);
                continue;
            };
            let staged = match &mut staged {
                Some(staged) => staged,
                none => none.insert(self.seen.stage()?),
            };
            staged.stage_from(&shown, file.mode, &mut file.bytes.expose())?;
        }
        for file in mounted {
            let path = &file.path;
            let written = self.seen.rewrite(path, file.bytes.expose(), file.mode);
            written.map_err(|error| {
                Failure::new(
                    ExitCode::CannotWrite,
                    format!("cannot write {path}: {error}"),
                    "podkey-init leaves a file there, which the runner's user must be able to write",
                )
            })?;
        }
        if let Some(staged) = staged {
            staged.publish()?;
        }
        Ok(())
    }
}

/// Runs `podkey-agent job-started`, and then the hook that the pod's author set. Returns the exit code.
pub fn job_started(hook: &Hook) -> u8 {
    let outcome =
        block_on(started::run(hook)).unwrap_or_else(|failure| Err(RunReport::new(RunStage::Job, None, &Err(failure))));
    outcome.unwrap_or_else(|report| {
        annotate(Level::Error, &report);
        1
    })
}

/// Runs `podkey-agent job-completed`, which never fails, and then becomes the hook that the pod's author set, if that hook can
/// be run. A signal that comes meanwhile ends the process with 128 and the signal's number when the secrets are cleared; the
/// author's hook does not start then.
pub fn job_completed(hook: &Hook) -> u8 {
    if let Ok(Some(signal)) = block_on(completed::run(hook)) {
        return 128 + signal.kernel_signal().as_raw() as u8;
    }
    if let Err(failure) = next::become_hook(hook, NEXT_JOB_COMPLETED_ENV, JOB_COMPLETED) {
        annotate(Level::Warning, &RunReport::new(RunStage::Job, None, &Err(failure)));
    }
    0
}

fn annotate(level: Level, report: &RunReport) {
    let (title, message) = report.annotation();
    // Standard output may be closed; the exit code still says how the hook ended.
    let _ = console::print(commands::annotation(level, &title, &message).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_of_a_job_and_its_pod_fit_into_the_header() {
        let variables = [
            ("GITHUB_REPOSITORY", 140),
            ("GITHUB_RUN_ID", 20),
            ("GITHUB_RUN_ATTEMPT", 10),
            ("GITHUB_JOB", 100),
        ];
        let variables = variables.map(|(name, length)| (name.into(), "1".repeat(length).into()));
        let hook = Hook::new(variables.into(), None);
        let pod = BoundPod {
            namespace: "n".repeat(63),
            name: "p".repeat(253),
            uid: "u".repeat(36),
        };
        let sender = hook.sender(&hook.facts(None), Some(&pod));
        for key in [
            "uid=",
            "claimed-repository=",
            "claimed-run=",
            "claimed-attempt=",
            "claimed-job=",
        ] {
            assert!(sender.contains(key), "{sender}");
        }
        assert!(sender.len() <= 768, "{}", sender.len());
    }
}
