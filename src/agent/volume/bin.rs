//! What the containers that use the agent find: the agent, for job hooks two wrappers that the runner can call, and the plan.
//! `init` fills the volume `podkey-bin`, or, where that volume is the agent's image, writes the plan into the state directory.
//! (How `init` ended is written beside the plan last, see [`outcome`].)

use std::fs::File;

use super::{ContainerPaths, VolumeError, file, outcome};
use crate::plan::{AGENT, Binary, JOB_COMPLETED, JOB_STARTED, PLAN_FILE, Plan};

/// The longest plan, in bytes.
const MAX_PLAN_FILE: usize = 4 * 1024 * 1024;

/// The runner takes only scripts, and runs them with `bash -e`, or with `sh -e` where there is no bash. The agent itself runs
/// the hook that the pod's author set, so that the signals of a cancelled job reach the hook that runs. (The agent's image has the
/// same files.)
const STARTED: &str = include_str!("job-started.sh");
const COMPLETED: &str = include_str!("job-completed.sh");

/// Leaves the agent and its files. The outcome of an earlier run is removed first. `hooks_plan` is the text of the plan, for job
/// hooks.
pub(in crate::agent) fn fill(
    paths: &ContainerPaths,
    binary: Binary,
    hooks_plan: Option<&str>,
) -> Result<(), VolumeError> {
    let mut staged = paths.open_state(binary)?;
    staged.remove(outcome::OUTCOME)?;
    if binary == Binary::Copy {
        let mut agent = File::open("/proc/self/exe").map_err(|error| {
            let message = format!("cannot read the agent's own program to copy it: {error}");
            VolumeError::new(message, "")
        })?;
        staged.stage_from(name(AGENT), 0o555, &mut agent)?;
    }
    let wrappers = [(name(JOB_STARTED), STARTED), (name(JOB_COMPLETED), COMPLETED)];
    for (place, text) in wrappers {
        if binary == Binary::Copy && hooks_plan.is_some() {
            staged.stage_from(place, 0o555, &mut text.as_bytes())?;
        }
    }
    if let Some(plan) = hooks_plan {
        staged.stage_from(PLAN_FILE, 0o444, &mut plan.as_bytes())?;
    }
    staged.publish().map(drop)
}

/// The path of the plan, as the containers see it.
pub(in crate::agent) fn plan_path(paths: &ContainerPaths) -> String {
    format!("{}/{PLAN_FILE}", paths.state_directory())
}

/// Reads the plan of the job hooks, which `init` or the webhook left. The error continues a sentence that begins with the file's
/// name.
pub(in crate::agent) fn read_plan(paths: &ContainerPaths) -> Result<Plan, String> {
    let text = file::read_followed(&paths.at(&plan_path(paths)), MAX_PLAN_FILE).map_err(|error| error.to_string())?;
    let text = text.ok_or_else(|| "there is no such file".to_owned())?;
    let text = std::str::from_utf8(text.expose()).map_err(|_| "it is not UTF-8".to_owned())?;
    Plan::parse(text).map_err(|error| error.to_string())
}

fn name(path: &'static str) -> &'static str {
    super::split(path).1
}
