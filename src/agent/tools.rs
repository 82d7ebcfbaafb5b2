//! What `init` puts into the volume `podkey-bin` for the runner's job hooks: the agent itself, the two wrappers that the
//! runner can call, the plan, and last of all how `init` ended.

use std::fs::File;

use super::files::{Rendered, Staged};
use super::init::Surroundings;
use super::outcome::{OUTCOME, Outcome, PLAN};
use super::report::{Code, Failure};
use crate::plan::{BIN_DIR, JOB_COMPLETED, JOB_STARTED};
use crate::secret::Secret;

/// The agent's own place.
const AGENT: &str = "podkey-agent";

/// The runner takes scripts only, and runs them with `bash -e`, else `sh -e`. The agent itself goes on with the hook that the
/// pod's author set, so that the signals of a cancelled job reach whichever of them runs.
const STARTED: &str = "#!/bin/sh\n\
    # podkey: masks and exports the job's secrets before its first step, or fails the job.\n\
    exec \"${0%/*}/podkey-agent\" job-started \"$@\"\n";
const COMPLETED: &str = "#!/bin/sh\n\
    # podkey: clears the job's secrets after its last step. Never fails the job.\n\
    [ -x \"${0%/*}/podkey-agent\" ] || exit 0\n\
    exec \"${0%/*}/podkey-agent\" job-completed \"$@\"\n";

/// Fills the volume, but for the outcome: that of an earlier run is removed before anything else.
pub(super) fn fill(surroundings: &Surroundings, plan: &str) -> Result<(), Failure> {
    let mut staged = open(surroundings)?;
    staged.remove(OUTCOME)?;
    let mut agent = File::open("/proc/self/exe").map_err(|error| {
        Failure::new(
            Code::CannotWrite,
            format!("cannot read the agent itself to copy it for the job hooks: {error}"),
            "",
        )
    })?;
    staged.stage_from(AGENT, 0o555, &mut agent)?;
    for (place, mode, text) in [
        (name(JOB_STARTED), 0o555, STARTED),
        (name(JOB_COMPLETED), 0o555, COMPLETED),
        (PLAN, 0o444, plan),
    ] {
        staged.stage_from(place, mode, &mut text.as_bytes())?;
    }
    staged.publish()?;
    Ok(())
}

/// Says how `init` ended: the last thing it writes.
pub(super) fn commit(surroundings: &Surroundings, outcome: &Outcome) -> Result<(), Failure> {
    let json = serde_json::to_vec(outcome)
        .map_err(|error| Failure::new(Code::CannotWrite, format!("cannot write {OUTCOME}: {error}"), ""))?;
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
