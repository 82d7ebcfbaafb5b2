//! Clears the job's secrets: a file below `/podkey/secrets` is removed; a file that is mounted on its own is emptied and gets
//! mode 0000, so that a later step fails and does not go on without the secret.

use std::path::Path;

use super::{Hook, copies};
use crate::agent::report::ReportedOutcome;
use crate::agent::volume::outcome::{self, DeliveredAs, Manifest};
use crate::agent::volume::{VolumeError, remove_all_in};
use crate::plan::{Plan, SECRETS_DIR};

/// Clears every file of the plan. Everything is tried; the first failure is returned. Refreshed files stay: a hook cannot
/// write there, and the sidecar revokes the tokens and leases when the pod ends.
pub(super) fn clear(hook: &Hook, plan: &Plan) -> Result<(), VolumeError> {
    if plan.refresh.is_some() {
        let copies = copies::remove(hook, plan);
        let refreshed = no_refreshed_files(hook);
        return copies.and(refreshed);
    }
    let files = hook.seen.clear(plan);
    let copies = copies::remove(hook, plan);
    files.and(copies)
}

/// Fails if there are refreshed files: who reads that a job gets no secret must know that steps with `if: always()` can still
/// read those files.
fn no_refreshed_files(hook: &Hook) -> Result<(), VolumeError> {
    match hook.seen.has_refreshed_files() {
        false => Ok(()),
        true => Err(VolumeError::new(
            format!("{SECRETS_DIR} is kept fresh, as podkey.dev/refresh asks, and stays readable until the pod ends"),
            "without podkey.dev/refresh the hooks clear the files",
        )),
    }
}

/// Clears what can be found without the plan: everything in the directory, the files that `init` reports as delivered, and the
/// copies. Everything is tried; the first failure is returned.
pub(super) fn clear_unplanned(hook: &Hook) -> Result<(), VolumeError> {
    let directory = hook.seen.clear_directory();
    let copies = copies::directory(hook).map_or(Ok(()), |copies| remove_all_in(&copies));
    let manifest = match outcome::read(hook.seen.paths()) {
        Ok(ReportedOutcome::Delivered(manifest)) => manifest,
        _ => Manifest::default(),
    };
    let emptied = manifest.delivered.iter().map(|delivered| match &delivered.to {
        DeliveredAs::File(path) if !Path::new(path).starts_with(SECRETS_DIR) => hook.seen.empty(path),
        DeliveredAs::File(_) | DeliveredAs::Env(_) => Ok(()),
    });
    emptied.fold(directory.and(copies), Result::and)
}
