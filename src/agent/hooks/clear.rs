//! Takes the job's secrets away again: what can be removed is removed, and a file that is mounted on its own is emptied and
//! closed to all, so that a later step finds nothing and fails rather than go on without.

use std::io::ErrorKind;

use super::{Hook, temp};
use crate::agent::files::{self, Staged};
use crate::agent::report::{Code, Failure};
use crate::plan::{Destination, ENV_DIR, Plan, SECRETS_DIR};

/// Clears all that the plan could have delivered. Everything is tried; the first failure is told.
pub(super) fn clear(hook: &Hook, plan: &Plan) -> Result<(), Failure> {
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
            Destination::Absolute(_) | Destination::EachField(_) => None,
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

fn empty(hook: &Hook, path: &str) -> Result<(), Failure> {
    match files::rewrite(&hook.path(path), b"", 0) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::new(
            Code::CannotWrite,
            format!("cannot empty {path}: {error}"),
            "the runner must be the user who owns the file, and must have it mounted writable",
        )),
        _ => Ok(()),
    }
}
