//! What `init` puts into the volume `podkey-bin`: the agent itself, for the runner's job hooks the two wrappers that the runner
//! can call and the plan, and last of all how `init` ended.

use std::fs::File;

use super::Surroundings;
use super::files::{Rendered, Staged};
use super::outcome::{OUTCOME, Outcome, PLAN};
use super::report::Failure;
use crate::plan::{AGENT, BIN_DIR, ExitCode, JOB_COMPLETED, JOB_STARTED};
use crate::secret::Secret;

/// The runner takes scripts only, and runs them with `bash -e`, else `sh -e`. The agent itself goes on with the hook that the
/// pod's author set, so that the signals of a cancelled job reach whichever of them runs.
const STARTED: &str = "#!/bin/sh\n\
    # podkey: masks and exports the job's secrets before its first step, or fails the job.\n\
    exec \"${0%/*}/podkey-agent\" job-started \"$@\"\n";
const COMPLETED: &str = "#!/bin/sh\n\
    # podkey: clears the job's secrets after its last step. Never fails the job.\n\
    [ -x \"${0%/*}/podkey-agent\" ] || exit 0\n\
    exec \"${0%/*}/podkey-agent\" job-completed \"$@\"\n";

/// Fills the volume, but for the outcome: that of an earlier run is removed before anything else. `hooks` is the plan's text,
/// where there are job hooks.
pub(super) fn fill(surroundings: &Surroundings, hooks: Option<&str>) -> Result<(), Failure> {
    let mut staged = open(surroundings)?;
    staged.remove(OUTCOME)?;
    let mut agent = File::open("/proc/self/exe").map_err(|error| {
        Failure::new(
            ExitCode::CannotWrite,
            format!("cannot read the agent itself to copy it: {error}"),
            "",
        )
    })?;
    staged.stage_from(name(AGENT), 0o555, &mut agent)?;
    let scripts = hooks.map(|plan| {
        [
            (name(JOB_STARTED), 0o555, STARTED),
            (name(JOB_COMPLETED), 0o555, COMPLETED),
            (PLAN, 0o444, plan),
        ]
    });
    for (place, mode, text) in scripts.into_iter().flatten() {
        staged.stage_from(place, mode, &mut text.as_bytes())?;
    }
    staged.publish()?;
    Ok(())
}

/// Says how `init` ended: the last thing it writes.
pub(super) fn commit(surroundings: &Surroundings, outcome: &Outcome) -> Result<(), Failure> {
    let json = serde_json::to_vec(outcome)
        .map_err(|error| Failure::new(ExitCode::CannotWrite, format!("cannot write {OUTCOME}: {error}"), ""))?;
    let mut staged = open(surroundings)?;
    staged.stage(&Rendered {
        place: OUTCOME.to_owned(),
        mode: 0o444,
        bytes: Secret::from(json),
    })?;
    staged.publish()?;
    Ok(())
}

fn open(surroundings: &Surroundings) -> Result<Staged, Failure> {
    Staged::open(&surroundings.path(BIN_DIR), surroundings.root.is_some())
}

fn name(path: &'static str) -> &'static str {
    path.rsplit('/').next().unwrap_or(path)
}
