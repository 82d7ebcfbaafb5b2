//! Takes the job's secrets away again: what can be removed is removed, and a file that is mounted on its own is emptied and
//! closed to all, so that a later step finds nothing and fails rather than go on without.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::{Hook, temp};
use crate::agent::files::{self, Staged};
use crate::agent::outcome::{self, Manifest, OUTCOME, Outcome, Target};
use crate::agent::report::Failure;
use crate::plan::{BIN_DIR, Destination, ENV_DIR, ExitCode, Plan, SECRETS_DIR, STATUS};

/// Clears all that the plan could have delivered. Everything is tried; the first failure is told. Files that are kept fresh are
/// the sidecar's, who takes its tokens and leases back when the pod ends; here they cannot even be written.
pub(super) fn clear(hook: &Hook, plan: &Plan) -> Result<(), Failure> {
    if plan.refresh.is_some() {
        let copies = temp::remove(hook, plan);
        let stays = nothing_stays(hook);
        return copies.and(stays);
    }
    let mut outcome = Ok(());
    let directory = match Staged::open(&hook.path(SECRETS_DIR), false) {
        Ok(directory) => Some(directory),
        Err(failure) => {
            // Without the directory nothing can be in it.
            if hook.path(SECRETS_DIR).exists() {
                outcome = Err(failure);
            }
            None
        }
    };
    let relative = directory.iter().flat_map(|directory| {
        let files = plan.destinations().filter_map(|destination| match destination {
            Destination::Relative(place) => Some(directory.remove(place)),
            // Their names came with the secret.
            Destination::EachField(name) => Some(directory.remove_all(name.directory())),
            Destination::Absolute(_) => None,
        });
        files.chain(std::iter::once_with(|| directory.remove_all(ENV_DIR)))
    });
    let absolute = plan.destinations().filter_map(|destination| match destination {
        Destination::Absolute(path) => Some(empty(hook, path)),
        Destination::Relative(_) | Destination::EachField(_) => None,
    });
    for cleared in relative.chain(absolute) {
        outcome = outcome.and(cleared);
    }
    let copies = temp::remove(hook, plan);
    outcome.and(copies)
}

/// Who reads that a job got no secret must know that its `always()` steps can still read those.
fn nothing_stays(hook: &Hook) -> Result<(), Failure> {
    // Without `init`'s files there is no directory of them, or an empty one.
    let current = files::current(&hook.path(SECRETS_DIR));
    let files = fs::read_dir(current).into_iter().flatten().flatten();
    match files.filter(|file| file.file_name() != STATUS).count() {
        0 => Ok(()),
        _ => Err(Failure::new(
            ExitCode::CannotWrite,
            format!("{SECRETS_DIR} is kept fresh, as podkey.dev/refresh asks, and stays readable until the pod ends"),
            "without podkey.dev/refresh the hooks clear the files",
        )),
    }
}

/// Clears what can be found without the plan: all that is in the directory, the files that `init` says it delivered, and the
/// copies. Everything is tried; the first failure is told.
pub(super) fn clear_unplanned(hook: &Hook) -> Result<(), Failure> {
    let secrets = hook.path(SECRETS_DIR);
    let directory = match files::current(&secrets) == secrets {
        true => remove_all_in(&secrets),
        // The sidecar's, see above.
        false => Ok(()),
    };
    let copies = temp::directory(hook).map_or(Ok(()), |copies| remove_all_in(&copies));
    let manifest = match outcome::read(&hook.path(&format!("{BIN_DIR}/{OUTCOME}"))) {
        Ok(Outcome::Delivered(manifest)) => manifest,
        _ => Manifest::default(),
    };
    let emptied = manifest.delivered.iter().map(|delivered| match &delivered.to {
        Target::File(path) if !Path::new(path).starts_with(SECRETS_DIR) => empty(hook, path),
        Target::File(_) | Target::Env(_) => Ok(()),
    });
    emptied.fold(directory.and(copies), Result::and)
}

/// Removes all that is in a directory, and follows no link. The directory itself may be a mount, and stays.
fn remove_all_in(directory: &Path) -> Result<(), Failure> {
    let removed = match fs::symlink_metadata(directory) {
        // Where there is none, or a link in its place, there is nothing of ours.
        Ok(found) if found.is_dir() => fs::read_dir(directory).and_then(|entries| {
            let removed = entries.map(|entry| {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path()),
                    false => fs::remove_file(entry.path()),
                }
            });
            removed.fold(Ok(()), io::Result::and)
        }),
        _ => Ok(()),
    };
    removed.map_err(|error| {
        Failure::new(
            ExitCode::CannotWrite,
            format!("cannot clear {}: {error}", directory.display()),
            "the runner must be the user who owns the files",
        )
    })
}

fn empty(hook: &Hook, path: &str) -> Result<(), Failure> {
    match files::rewrite(&hook.path(path), b"", 0) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::new(
            ExitCode::CannotWrite,
            format!("cannot empty {path}: {error}"),
            "the runner must be the user who owns the file, and must have it mounted writable",
        )),
        _ => Ok(()),
    }
}
