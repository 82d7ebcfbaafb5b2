//! The files that the sidecar keeps fresh, in all directories that the containers see. Each directory has generations and a status
//! file of its own.

mod directory;
mod generations;

use std::collections::{BTreeMap, BTreeSet};

use self::directory::{MAX_STATUS, RefreshedDirectory};
pub(super) use self::generations::is_generation;
use super::{ContainerPaths, FileState, FileStatus, StatusFile, VolumeError, file};
use crate::plan::{Destination, ENV_DIR, FILES_DIR, KUBELET_ENV_DIR, Plan, STATUS, VOLUME_DIR, place_of_directory};
use crate::secret::Secret;

/// In the volume `podkey-env`: the values of the variables that no container reads as files, for the sidecar itself.
const VALUES_DIR: &str = "values";

/// The refreshed files, by their shown names.
pub(in crate::agent) struct RefreshedFiles {
    directories: Vec<MountedDirectory>,
}

struct MountedDirectory {
    /// The beginning of the shown name of each file here: nothing, or the path of the mount with a slash; or, where no container sees
    /// the values of variables, [`ENV_DIR`] with a slash.
    prefix: String,
    files: RefreshedDirectory,
}

/// What [`RefreshedFiles::swap`] did.
pub(in crate::agent) struct Swapped {
    /// The shown names of the changed files.
    pub changed: Vec<String>,
    /// Why a directory was not changed. The next swap tries again.
    pub failure: Option<VolumeError>,
}

/// The directories with the files of the plan: the beginning of the shown name of each file there, and the place of the directory.
fn directories_of_files(plan: &Plan) -> impl Iterator<Item = (String, String)> {
    let own: BTreeSet<&str> = plan.destinations().filter_map(Destination::directory).collect();
    let own = own
        .into_iter()
        .map(|directory| (format!("{directory}/"), place_of_directory(directory)));
    std::iter::once((String::new(), FILES_DIR.to_owned())).chain(own)
}

/// The state of each file, as the status files have it, for a process beside the sidecar. It opens no other file and changes
/// nothing. The error says why the state is not known.
pub(in crate::agent) fn read_status(
    paths: &ContainerPaths,
    plan: &Plan,
) -> Result<BTreeMap<String, FileStatus>, String> {
    let mut directories = Vec::new();
    if !plan.has_variable_files() && !plan.env.is_empty() {
        directories.push((format!("{ENV_DIR}/"), format!("{KUBELET_ENV_DIR}/{VALUES_DIR}")));
    }
    if plan.has_files() {
        let places = directories_of_files(plan);
        directories.extend(places.map(|(prefix, place)| (prefix, format!("{VOLUME_DIR}/{place}"))));
    }
    let mut all = BTreeMap::new();
    for (prefix, directory) in directories {
        let path = format!("{directory}/{STATUS}");
        let unknown = |why: String| format!("the state of the files is not known: {path}: {why}");
        let json = file::read(&paths.at(&path), MAX_STATUS)
            .map_err(|error| unknown(error.to_string()))?
            .ok_or_else(|| unknown("no such file".to_owned()))?;
        let status: StatusFile = serde_json::from_slice(json.expose()).map_err(|error| unknown(error.to_string()))?;
        if status.files.is_empty() && status.state != FileState::Fresh {
            return Err(format!("nothing was delivered: {path}"));
        }
        let files = status.files.into_iter();
        all.extend(files.map(|(name, status)| (format!("{prefix}{name}"), status)));
    }
    Ok(all)
}

impl RefreshedFiles {
    /// Reads the current generation of each directory of the plan.
    pub(in crate::agent) fn open(paths: &ContainerPaths, plan: &Plan) -> Result<Self, VolumeError> {
        let mut directories = Vec::new();
        if !plan.has_variable_files() && !plan.env.is_empty() {
            // Before `files`, which would take every name.
            directories.push(MountedDirectory {
                prefix: format!("{ENV_DIR}/"),
                files: RefreshedDirectory::open(&paths.open(KUBELET_ENV_DIR)?, VALUES_DIR)?,
            });
        }
        if plan.has_files() {
            let volume = paths.open(VOLUME_DIR)?;
            for (prefix, place) in directories_of_files(plan) {
                let files = RefreshedDirectory::open(&volume, &place)?;
                directories.push(MountedDirectory { prefix, files });
            }
        }
        Ok(Self { directories })
    }

    /// The content of a file that the containers see now. None: there is no such file.
    pub(in crate::agent) fn read(&self, name: &str) -> Option<Secret> {
        self.find(name).and_then(|(files, name)| files.read(name))
    }

    /// The directory of a file, and the name of the file there.
    fn find<'n>(&self, name: &'n str) -> Option<(&RefreshedDirectory, &'n str)> {
        let mut all = self.directories.iter();
        all.find_map(|directory| Some((&directory.files, directory.name_here(name)?)))
    }

    fn find_mut<'n>(&mut self, name: &'n str) -> Option<(&mut RefreshedDirectory, &'n str)> {
        let mut all = self.directories.iter_mut();
        all.find_map(|directory| {
            let name = directory.name_here(name)?;
            Some((&mut directory.files, name))
        })
    }

    /// Whether the containers see this file after the next swap.
    pub(in crate::agent) fn has(&self, name: &str) -> bool {
        self.find(name).is_some_and(|(files, name)| files.has(name))
    }

    /// Every file that the containers see after the next swap.
    pub(in crate::agent) fn names(&self) -> impl Iterator<Item = String> {
        self.directories.iter().flat_map(|directory| {
            let names = directory.files.names();
            names.map(|name| format!("{}{name}", directory.prefix))
        })
    }

    /// The next swap writes this content and mode, if the file differs from them.
    pub(in crate::agent) fn put(&mut self, name: &str, bytes: Secret, mode: u32) {
        if let Some((files, name)) = self.find_mut(name) {
            files.put(name, bytes, mode);
        }
    }

    /// The next swap removes the file.
    pub(in crate::agent) fn remove(&mut self, name: &str) {
        if let Some((files, name)) = self.find_mut(name) {
            files.remove(name);
        }
    }

    /// How many bytes the file has after the next swap.
    pub(in crate::agent) fn size(&self, name: &str) -> usize {
        self.find(name).map_or(0, |(files, name)| files.size(name))
    }

    /// Whether the next swap changes this file.
    pub(in crate::agent) fn changes(&self, name: &str) -> bool {
        self.find(name).is_some_and(|(files, name)| files.changes(name))
    }

    /// Whether the containers see a file with mode 0000: the secret of the file is gone.
    pub(in crate::agent) fn is_closed(&self, name: &str) -> bool {
        self.find(name).is_some_and(|(files, name)| files.is_closed(name))
    }

    /// Whether the next swap changes any file.
    pub(in crate::agent) fn has_changes(&self) -> bool {
        self.directories.iter().any(|directory| directory.files.has_changes())
    }

    /// Shows all changes, the changes of each directory at once, one directory directly after the other. Where that fails, the
    /// directory stays as it is.
    pub(in crate::agent) fn swap(&mut self) -> Swapped {
        let mut swapped = Swapped {
            changed: Vec::new(),
            failure: None,
        };
        for directory in &mut self.directories {
            match directory.files.swap() {
                Ok(names) => {
                    let names = names.into_iter().map(|name| format!("{}{name}", directory.prefix));
                    swapped.changed.extend(names);
                }
                Err(failure) => swapped.failure = swapped.failure.or(Some(failure)),
            }
        }
        swapped
    }

    /// Removes every file. Every directory is tried; the first failure is returned.
    pub(in crate::agent) fn clear(&mut self) -> Result<(), VolumeError> {
        let cleared = self.directories.iter_mut().map(|directory| directory.files.clear());
        cleared.fold(Ok(()), Result::and)
    }

    /// The files of the last status files. A status file that is missing or does not parse has none.
    pub(in crate::agent) fn read_status(&self) -> BTreeMap<String, FileStatus> {
        let all = self.directories.iter().flat_map(|directory| {
            let files = directory.files.read_status().map(|status| status.files);
            let files = files.unwrap_or_default().into_iter();
            files.map(|(name, status)| (format!("{}{name}", directory.prefix), status))
        });
        all.collect()
    }

    /// Replaces the status file of each directory. Every directory is tried; the first failure is returned.
    pub(in crate::agent) fn write_status(&self, status: &StatusFile) -> Result<(), VolumeError> {
        let written = self.directories.iter().map(|directory| {
            let files = status.files.iter();
            let files = files.filter_map(|(name, file)| Some((directory.name_here(name)?.to_owned(), file.clone())));
            directory.files.write_status(&status.of(files.collect()))
        });
        written.fold(Ok(()), Result::and)
    }

    /// When [`Self::remove_replaced`] has something to remove.
    pub(in crate::agent) fn removal_due(&self) -> Option<std::time::Instant> {
        let due = self
            .directories
            .iter()
            .filter_map(|directory| directory.files.removal_due());
        due.min()
    }

    /// Removes the replaced generations that no reader needs any more.
    pub(in crate::agent) fn remove_replaced(&mut self) {
        for directory in &mut self.directories {
            directory.files.remove_replaced();
        }
    }
}

impl MountedDirectory {
    /// The name in this directory of the file with this shown name. None: the file is in another directory.
    fn name_here<'n>(&self, name: &'n str) -> Option<&'n str> {
        match self.prefix.as_str() {
            "" => (!name.starts_with('/')).then_some(name),
            prefix => name.strip_prefix(prefix),
        }
    }
}

#[cfg(test)]
mod tests;
