//! Copies of the job's files below `RUNNER_TEMP`, for jobs in a container: of all places where files are, it is the one that
//! such a job sees too. The runner writes a variable that names a path there as the container has it (`/__w/_temp`), with
//! Docker and in kubernetes mode (`ContainerStepHost`), so the same variable is right inside and outside.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Hook, HookPlan};
use crate::agent::delivery::Variable;
use crate::agent::files::Staged;
use crate::agent::outcome::{Delivered, Target};
use crate::agent::report::Failure;
use crate::plan::{Destination, ExitCode, Plan};
use crate::secret::Secret;

/// The directory of all copies, below `RUNNER_TEMP`.
const COPIES: &str = "podkey";

/// A copy's place below `RUNNER_TEMP`: the file's own path below a directory of podkey's.
fn place(file: &Destination) -> String {
    format!("{COPIES}{}", file.path())
}

/// Where the copies of this job are, if there are any.
pub(super) fn directory(hook: &Hook) -> Option<PathBuf> {
    let temp = hook.text("RUNNER_TEMP").filter(|temp| temp.starts_with('/'))?;
    Some(Path::new(temp).join(COPIES))
}

/// Copies what was delivered, where the plan wants that, and gives the variables that name the copies. `content` finds the
/// bytes of a file.
pub(super) fn copy<'s>(
    hook: &Hook,
    it: &HookPlan,
    delivered: &[Delivered],
    content: impl Fn(&Destination) -> Option<&'s Secret>,
) -> Result<Vec<Variable>, Failure> {
    let Some(named) = &it.job.temp else {
        return Ok(Vec::new());
    };
    let temp = hook
        .text("RUNNER_TEMP")
        .filter(|temp| temp.starts_with('/'))
        .ok_or_else(|| {
            Failure::new(
                ExitCode::CannotWrite,
                "podkey.dev/job-temp cannot be done: RUNNER_TEMP names no directory",
                "the runner sets it: is this hook run by GitHub's runner?",
            )
        })?;
    let mut staged = Staged::open(temp.as_ref(), false)?;
    let init = it.plan.files.iter().map(|file| (&file.file, file.mode));
    let own = it.job.files.iter().map(|file| (&file.file, file.mode));
    let mut copied = Vec::new();
    for (file, mode) in init.chain(own) {
        let path = file.path();
        let was = |one: &Delivered| matches!(&one.to, Target::File(known) if *known == path);
        if let Some(bytes) = content(file).filter(|_| delivered.iter().any(was)) {
            // ARC's newer container hooks write the directory back after each step, which its owner must be able to.
            staged.stage_from(&place(file), mode.bits() | 0o200, &mut bytes.expose())?;
            copied.push(file);
        }
    }
    let count = staged.publish()?;
    tracing::info!("{count} copied below {temp}/{COPIES}, for a job in a container");
    let named = named.iter().filter(|(_, file)| copied.contains(file));
    Ok(named
        .map(|(name, file)| Variable {
            name: name.clone(),
            value: Secret::from(format!("{temp}/{}", place(file)).into_bytes()),
        })
        .collect())
}

/// Removes the copies. Everything is tried; the first failure is told.
pub(super) fn remove(hook: &Hook, plan: &Plan) -> Result<(), Failure> {
    let wanted = plan.job.as_ref().is_some_and(|job| job.temp.is_some());
    let Some(temp) = hook.text("RUNNER_TEMP").filter(|_| wanted) else {
        return Ok(());
    };
    // Without the directory nothing can be in it.
    if matches!(std::fs::symlink_metadata(temp), Err(error) if error.kind() == ErrorKind::NotFound) {
        return Ok(());
    }
    let staged = Staged::open(temp.as_ref(), false)?;
    plan.destinations()
        .map(|file| staged.remove(&place(file)))
        .fold(Ok(()), Result::and)
}
