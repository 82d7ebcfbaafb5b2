//! The runner's job hooks: `job-started` masks and exports the job's secrets before its first step, or fails the job;
//! `job-completed` clears them after its last one.
//! <https://docs.github.com/en/actions/how-tos/manage-runners/self-hosted-runners/run-scripts>
//!
//! All they say goes to standard output, in one order: the runner reads standard error beside it, and would print a line from
//! there before it has read the masks.

mod clear;
mod completed;
mod console;
mod deliver;
mod next;
mod own;
mod present;
mod started;
mod temp;

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use self::console::PlainLines;
use super::files;
use super::outcome::{MAX_OUTCOME, PLAN};
use super::report::{Failure, Report, RunStage, SetupFault};
use crate::job::commands::{self, Level};
use crate::plan::{BIN_DIR, JOB_COMPLETED, JobPlan, NEXT_JOB_COMPLETED_ENV, Plan, SECRETS_DIR};
use crate::vault::{Session, Stop, Vault};

/// Of the started hook's deadline, so much is kept for clearing and for giving the client token back.
const LAST: Duration = Duration::from_secs(2);

/// What a hook works on, as `main` found it.
#[derive(Debug)]
pub struct Hook {
    /// The environment: the runner's variables, those of the job, and the proxy's.
    variables: BTreeMap<OsString, OsString>,
    /// The prefix of every path of the plan, outside a container.
    root: Option<PathBuf>,
    /// The delivered files as they were when one of them was first asked for: a sidecar may change them meanwhile.
    secrets: OnceCell<PathBuf>,
}

/// The plan of a pod that has job hooks.
struct HookPlan {
    plan: Plan,
    job: JobPlan,
}

/// How far a run of the started hook is; read again when the deadline or a signal ends it.
struct Progress {
    stage: Cell<RunStage>,
    /// The server and the job's own client token, once there is one.
    session: OnceCell<(Vault, Session)>,
    /// A delivered secret lives only as long as the client token.
    keep_token: Cell<bool>,
    /// The masks of what `init` delivered were printed, or could not be.
    masked: Cell<bool>,
    stop: Stop,
}

impl Progress {
    fn new() -> Self {
        Self {
            stage: Cell::new(RunStage::Job),
            session: OnceCell::new(),
            keep_token: Cell::new(false),
            masked: Cell::new(false),
            stop: Stop::default(),
        }
    }

    async fn revoke(&mut self) {
        if let Some((vault, session)) = self.session.take() {
            vault.revoke(&session, LAST).await;
        }
    }
}

impl Hook {
    /// In this environment, with this prefix of every path (outside a container).
    pub fn new(variables: BTreeMap<OsString, OsString>, root: Option<PathBuf>) -> Self {
        Self {
            variables,
            root,
            secrets: OnceCell::new(),
        }
    }

    /// A variable that is text and not empty.
    fn text(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(std::ffi::OsStr::new(name))?.to_str()?;
        (!value.is_empty()).then_some(value)
    }

    /// A path of the container, below the root. What is delivered in [`SECRETS_DIR`] is that of one moment, always the same.
    fn path(&self, absolute: &str) -> PathBuf {
        let below = |path| super::below(self.root.as_deref(), path);
        let delivered = absolute
            .strip_prefix(SECRETS_DIR)
            .and_then(|rest| rest.strip_prefix('/'));
        match delivered {
            Some(place) => self
                .secrets
                .get_or_init(|| files::current(&below(SECRETS_DIR)))
                .join(place),
            None => below(absolute),
        }
    }

    /// The plan as `init` left it.
    fn plan(&self) -> Result<HookPlan, Failure> {
        let file = format!("{BIN_DIR}/{PLAN}");
        let bad = SetupFault::PlanFile;
        let text = files::read(&self.path(&file), MAX_OUTCOME).map_err(|error| bad(error.to_string()))?;
        let text = text.ok_or_else(|| bad("there is no such file".to_owned()))?;
        let text = std::str::from_utf8(text.expose()).map_err(|_| bad("it is not UTF-8".to_owned()))?;
        let plan = Plan::parse(text).map_err(|error| bad(error.to_string()))?;
        let job = plan
            .job
            .clone()
            .ok_or_else(|| bad("it has nothing for job hooks".to_owned()))?;
        Ok(HookPlan { plan, job })
    }

    /// The job in words, for a log line on each side. What a job could choose is made fit for one line.
    fn job(&self) -> String {
        let variable = |name: &str| super::clean(self.text(name).unwrap_or("-"), 256);
        format!(
            "repository={} run_id={} run_attempt={} job={}",
            variable("GITHUB_REPOSITORY"),
            variable("GITHUB_RUN_ID"),
            variable("GITHUB_RUN_ATTEMPT"),
            variable("GITHUB_JOB"),
        )
    }
}

/// Runs `podkey-agent job-started`, and after it the hook that the pod's author set. Gives the exit code.
pub fn job_started(hook: &Hook) -> u8 {
    let outcome = super::block_on(started::run(hook))
        .unwrap_or_else(|failure| Err(Report::new(RunStage::Job, None, &Err(failure))));
    outcome.unwrap_or_else(|report| {
        annotate(Level::Error, &report);
        1
    })
}

/// Runs `podkey-agent job-completed`, which never fails, and then becomes the hook that the pod's author set, if it can be run.
/// A signal that comes meanwhile ends the process with 128 and the signal's number once the secrets are cleared; the author's
/// hook does not start then.
pub fn job_completed(hook: &Hook) -> u8 {
    if let Ok(Some(told)) = super::block_on(completed::run(hook)) {
        return 128 + told.signal().as_raw() as u8;
    }
    if let Err(failure) = next::become_it(hook, NEXT_JOB_COMPLETED_ENV, JOB_COMPLETED) {
        annotate(Level::Warning, &Report::new(RunStage::Job, None, &Err(failure)));
    }
    0
}

fn annotate(level: Level, report: &Report) {
    let (title, message) = report.annotation();
    // Standard output may be closed; the exit code still tells.
    let _ = console::say(commands::annotation(level, &title, &message).as_bytes());
}
