//! The delivered files as the containers see them: at [`SECRETS_DIR`], and at the paths of single-file mounts. For the job
//! hooks and for `exec`.

use std::cell::OnceCell;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{ContainerPaths, Staged, VolumeError, below_secrets, file, linked, refreshed};
use crate::plan::{CURRENT, Destination, ENV_DIR, MAX_RENDERED_BYTES, PRINTED_DIR, Plan, SECRETS_DIR, STATUS};
use crate::secret::Secret;

/// The delivered files at one moment: a sidecar may replace the files while they are read.
#[derive(Debug)]
pub(in crate::agent) struct SeenFiles {
    paths: ContainerPaths,
    /// The directory of the generation that was current when the first file was read.
    generation: OnceCell<PathBuf>,
}

impl SeenFiles {
    pub(in crate::agent) fn new(paths: ContainerPaths) -> Self {
        Self {
            paths,
            generation: OnceCell::new(),
        }
    }

    pub(in crate::agent) fn paths(&self) -> &ContainerPaths {
        &self.paths
    }

    /// Where the file with this path in the containers is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        match below_secrets(path) {
            Some(shown) => self.generation.get_or_init(|| self.current_directory()).join(shown),
            None => self.paths.at(path),
        }
    }

    fn directory(&self) -> PathBuf {
        self.paths.at(SECRETS_DIR)
    }

    /// The directory of the current generation. Without a sidecar there are no generations, and the files are in
    /// [`SECRETS_DIR`] itself.
    fn current_directory(&self) -> PathBuf {
        let directory = self.directory();
        match fs::read_link(directory.join(CURRENT)) {
            Ok(target) if target.to_str().is_some_and(refreshed::is_generation) => directory.join(target),
            _ => directory,
        }
    }

    /// Reads a delivered file. None: there is no such file.
    pub(in crate::agent) fn read(&self, path: &str) -> io::Result<Option<Secret>> {
        file::read(&self.at(path), MAX_RENDERED_BYTES)
    }

    /// Whether the file is empty and has mode 0000: `init` or a hook left it so, without the secret.
    pub(in crate::agent) fn is_closed(&self, path: &str) -> bool {
        let found = fs::symlink_metadata(self.at(path));
        found.is_ok_and(|found| found.is_file() && found.len() == 0 && found.permissions().mode() & 0o777 == 0)
    }

    /// The names of the files in a directory below [`SECRETS_DIR`], as shown names. The directory "" is [`SECRETS_DIR`].
    pub(in crate::agent) fn names_in(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.at(&format!("{SECRETS_DIR}/{directory}"))) else {
            return Vec::new();
        };
        let files = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
        let names = files.filter_map(|entry| entry.file_name().into_string().ok());
        match directory {
            "" => names.collect(),
            directory => names.map(|name| format!("{directory}/{name}")).collect(),
        }
    }

    /// Opens [`SECRETS_DIR`] to write into it.
    pub(in crate::agent) fn stage(&self) -> Result<Staged, VolumeError> {
        Staged::open(&self.directory())
    }

    /// Replaces the content and the mode of a file that is mounted on its own.
    pub(in crate::agent) fn rewrite(&self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        file::rewrite(&self.at(path), bytes, mode)
    }

    /// Empties a file that is mounted on its own, and sets mode 0000. A missing file is no error.
    pub(in crate::agent) fn empty(&self, path: &str) -> Result<(), VolumeError> {
        match self.rewrite(path, b"", 0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(VolumeError::new(
                format!("cannot empty {path}: {error}"),
                "the runner must be the owner of the file, and must have it mounted writable",
            )),
            _ => Ok(()),
        }
    }

    /// Replaces the file by an empty one with mode 0000, so that a tool fails that follows a symlink to the file.
    fn close(&self, shown: &str) -> Result<(), VolumeError> {
        let mut staged = self.stage()?;
        staged.stage_from(shown, 0, &mut io::empty())?;
        staged.publish().map(drop)
    }

    /// Removes every file of the plan, and empties the files that are mounted on their own. Every file is tried; the first
    /// failure is returned.
    pub(in crate::agent) fn clear(&self, plan: &Plan) -> Result<(), VolumeError> {
        let (staged, mut outcome) = match self.stage() {
            Ok(staged) => (Some(staged), Ok(())),
            // Where the directory does not exist, it has no files.
            Err(_) if !self.directory().exists() => (None, Ok(())),
            Err(failure) => (None, Err(failure)),
        };
        for (number, destination) in plan.destinations().enumerate() {
            if let Some(shown) = linked::shown(plan, number, destination) {
                let closed = self.close(&shown);
                outcome = outcome.and(closed);
                continue;
            }
            let cleared = match (destination, &staged) {
                (Destination::Absolute(path), _) => self.empty(path),
                // `plan::rules` refuses such a file beside job hooks.
                (file @ Destination::InDirectory { .. }, _) => self.empty(&file.path()),
                (Destination::Relative(shown), Some(staged)) => staged.remove(shown),
                // The names of the files came with the secret.
                (Destination::EachField(name), Some(staged)) => staged.remove_all(name.directory()),
                (Destination::Relative(_) | Destination::EachField(_), None) => Ok(()),
            };
            outcome = outcome.and(cleared);
        }
        let directories = [ENV_DIR, PRINTED_DIR].iter();
        let cleared =
            directories.map(|directory| staged.as_ref().map_or(Ok(()), |staged| staged.remove_all(directory)));
        cleared.fold(outcome, Result::and)
    }

    /// Removes everything in [`SECRETS_DIR`], without a plan. Refreshed files stay: only the sidecar can write there.
    pub(in crate::agent) fn clear_directory(&self) -> Result<(), VolumeError> {
        let directory = self.directory();
        match self.current_directory() == directory {
            true => remove_all_in(&directory),
            false => Ok(()),
        }
    }

    /// Whether there is any refreshed file. (Before `init` ends there is no directory of the files, or an empty one.)
    pub(in crate::agent) fn has_refreshed_files(&self) -> bool {
        let files = fs::read_dir(self.current_directory()).into_iter().flatten().flatten();
        files.filter(|file| file.file_name() != STATUS).count() > 0
    }
}

/// Removes everything in a directory, and follows no symlink. The directory itself may be a mount, and stays.
pub(in crate::agent) fn remove_all_in(directory: &Path) -> Result<(), VolumeError> {
    let removed = match fs::symlink_metadata(directory) {
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
        // Where there is no directory, or a symlink in its place, nothing of podkey's is there.
        _ => Ok(()),
    };
    removed.map_err(|error| {
        VolumeError::new(
            format!("cannot clear {}: {error}", directory.display()),
            "the runner must be the owner of the files",
        )
    })
}
