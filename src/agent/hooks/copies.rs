//! Copies of the job's files below `RUNNER_TEMP`, for jobs in a container: such a job sees no other directory with secrets.
//! Where a variable names a path below `RUNNER_TEMP`, the runner writes the path as the job's container has it
//! (`/__w/_temp`), with Docker and in kubernetes mode (`ContainerStepHost`). So the variable is right inside and outside.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Hook, HookPlan};
use crate::agent::delivery::RenderedVariable;
use crate::agent::report::Failure;
use crate::agent::volume::outcome::{DeliveredAs, DeliveredItem};
use crate::agent::volume::{Staged, VolumeError};
use crate::plan::{Destination, ExitCode, Plan};
use crate::secret::Secret;

/// The directory of all copies, below `RUNNER_TEMP`.
const COPIES: &str = "podkey";

/// The path of a copy below `RUNNER_TEMP`: the path of the file, below podkey's directory.
fn copy_path(file: &Destination) -> String {
    format!("{COPIES}{}", file.path())
}

/// The directory of this job's copies. None: `RUNNER_TEMP` names no directory.
pub(super) fn directory(hook: &Hook) -> Option<PathBuf> {
    Some(Path::new(runner_temp(hook)?).join(COPIES))
}

fn runner_temp(hook: &Hook) -> Option<&str> {
    hook.text("RUNNER_TEMP").filter(|temp| temp.starts_with('/'))
}

/// Copies the delivered files, if the plan asks for copies. Returns the variables that name the copies. `content` finds the
/// bytes of a file.
pub(super) fn copy<'s>(
    hook: &Hook,
    it: &HookPlan,
    delivered: &[DeliveredItem],
    content: impl Fn(&Destination) -> Option<&'s Secret>,
) -> Result<Vec<RenderedVariable>, Failure> {
    let Some(named) = &it.job.temp else {
        return Ok(Vec::new());
    };
    let temp = runner_temp(hook).ok_or_else(|| {
        Failure::new(
            ExitCode::CannotWrite,
            "no files can be copied for podkey.dev/job-temp: RUNNER_TEMP names no directory",
            "the runner sets RUNNER_TEMP: is this hook run by GitHub's runner?",
        )
    })?;
    let mut staged = Staged::open(temp.as_ref())?;
    let init = it.plan.files.iter().map(|file| (&file.file, file.mode));
    let own = it.job.files.iter().map(|file| (&file.file, file.mode));
    let mut copied = Vec::new();
    for (file, mode) in init.chain(own) {
        let path = file.path();
        let is_this = |item: &DeliveredItem| matches!(&item.to, DeliveredAs::File(known) if *known == path);
        if let Some(bytes) = content(file).filter(|_| delivered.iter().any(is_this)) {
            // ARC's newer container hooks write the directory back after each step: the owner must be able to write.
            staged.stage_from(&copy_path(file), mode.bits() | 0o200, &mut bytes.expose())?;
            copied.push(file);
        }
    }
    let count = staged.publish()?;
    tracing::info!("{count} copied below {temp}/{COPIES}, for a job in a container");
    let named = named.iter().filter(|(_, file)| copied.contains(file));
    Ok(named
        .map(|(name, file)| RenderedVariable {
            name: name.clone(),
            value: Secret::from(format!("{temp}/{}", copy_path(file)).into_bytes()),
        })
        .collect())
}

/// Removes the copies. Every copy is tried; the first failure is returned.
pub(super) fn remove(hook: &Hook, plan: &Plan) -> Result<(), VolumeError> {
    let wanted = plan.job.as_ref().is_some_and(|job| job.temp.is_some());
    let Some(temp) = hook.text("RUNNER_TEMP").filter(|_| wanted) else {
        return Ok(());
    };
    // Where the directory does not exist, there are no copies.
    if matches!(std::fs::symlink_metadata(temp), Err(error) if error.kind() == ErrorKind::NotFound) {
        return Ok(());
    }
    let staged = Staged::open(temp.as_ref())?;
    plan.destinations()
        .map(|file| staged.remove(&copy_path(file)))
        .fold(Ok(()), Result::and)
}
