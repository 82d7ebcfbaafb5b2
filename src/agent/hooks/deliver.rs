//! Writes the job's files where its steps find them: the last work of the started hook but for the exports.

use std::borrow::Cow;

use super::Hook;
use crate::agent::files::{self, Staged};
use crate::agent::report::Failure;
use crate::plan::{ExitCode, SECRETS_DIR};
use crate::secret::Secret;

/// One file for the job.
pub(super) struct JobFile<'a> {
    /// As the containers see it.
    pub path: Cow<'a, str>,
    /// Permission bits.
    pub mode: u32,
    pub bytes: &'a Secret,
}

/// Writes them: below [`SECRETS_DIR`] under temporary names first, then those that are mounted on their own, which can only be
/// rewritten, and then the former get their names.
pub(super) fn write(hook: &Hook, files: Vec<JobFile<'_>>) -> Result<(), Failure> {
    let place = |file: &JobFile<'_>| Some(file.path.strip_prefix(SECRETS_DIR)?.strip_prefix('/')?.to_owned());
    let mut staged = None;
    for file in &files {
        let Some(place) = place(file) else { continue };
        let staged = match &mut staged {
            Some(staged) => staged,
            none => none.insert(Staged::open(&hook.path(SECRETS_DIR), false)?),
        };
        staged.stage_from(&place, file.mode, &mut file.bytes.expose())?;
    }
    for file in files.iter().filter(|file| place(file).is_none()) {
        let path = &file.path;
        files::rewrite(&hook.path(path), file.bytes.expose(), file.mode).map_err(|error| {
            Failure::new(
                ExitCode::CannotWrite,
                format!("cannot write {path}: {error}"),
                "podkey-init leaves a file there, which the runner's user must be able to write",
            )
        })?;
    }
    staged.map_or(Ok(0), Staged::publish).map(drop)
}
