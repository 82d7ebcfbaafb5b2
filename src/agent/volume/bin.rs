//! The volume `podkey-bin`, which `init` fills: the agent, and for job hooks two wrappers that the runner can call and the
//! plan. (How `init` ended is written there last, see [`outcome`].)

use std::fs::File;

use super::{ContainerPaths, VolumeError, file, outcome};
use crate::plan::{AGENT, BIN_DIR, JOB_COMPLETED, JOB_STARTED, Plan};

/// The plan, for the job hooks.
const PLAN_FILE: &str = "plan.json";
/// The longest plan, in bytes.
const MAX_PLAN_FILE: usize = 4 * 1024 * 1024;

/// The runner takes only scripts, and runs them with `bash -e`, or with `sh -e` where there is no bash. The agent itself runs
/// the hook that the pod's author set, so that the signals of a cancelled job reach the hook that runs.
const STARTED: &str = "#!/bin/sh\n\
    # podkey: masks and exports the job's secrets before its first step, or fails the job.\n\
    exec \"${0%/*}/podkey-agent\" job-started \"$@\"\n";
const COMPLETED: &str = "#!/bin/sh\n\
    # podkey: clears the job's secrets after its last step. Never fails the job.\n\
    [ -x \"${0%/*}/podkey-agent\" ] || exit 0\n\
    exec \"${0%/*}/podkey-agent\" job-completed \"$@\"\n";

/// Fills the volume. The outcome of an earlier run is removed first. `hooks_plan` is the text of the plan, for job hooks.
pub(in crate::agent) fn fill(paths: &ContainerPaths, hooks_plan: Option<&str>) -> Result<(), VolumeError> {
    let mut staged = paths.open(BIN_DIR)?;
    staged.remove(outcome::OUTCOME)?;
    let mut agent = File::open("/proc/self/exe").map_err(|error| {
        let message = format!("cannot read the agent's own program to copy it: {error}");
        VolumeError::new(message, "")
    })?;
    staged.stage_from(name(AGENT), 0o555, &mut agent)?;
    let hook_files = hooks_plan.map(|plan| {
        [
            (name(JOB_STARTED), 0o555, STARTED),
            (name(JOB_COMPLETED), 0o555, COMPLETED),
            (PLAN_FILE, 0o444, plan),
        ]
    });
    for (place, mode, text) in hook_files.into_iter().flatten() {
        staged.stage_from(place, mode, &mut text.as_bytes())?;
    }
    staged.publish().map(drop)
}

/// The path of the plan, as the containers see it.
pub(in crate::agent) fn plan_path() -> String {
    format!("{BIN_DIR}/{PLAN_FILE}")
}

/// Reads the plan that `init` left for the job hooks. The error continues a sentence that begins with the file's name.
pub(in crate::agent) fn read_plan(paths: &ContainerPaths) -> Result<Plan, String> {
    let text = file::read(&paths.at(&plan_path()), MAX_PLAN_FILE).map_err(|error| error.to_string())?;
    let text = text.ok_or_else(|| "there is no such file".to_owned())?;
    let text = std::str::from_utf8(text.expose()).map_err(|_| "it is not UTF-8".to_owned())?;
    Plan::parse(text).map_err(|error| error.to_string())
}

fn name(path: &'static str) -> &'static str {
    super::split(path).1
}
