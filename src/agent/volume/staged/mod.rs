//! Writes files so that all of them appear or none: first every file is written whole under a temporary name, then all are
//! renamed. (Not here: a job's variables, which the hook appends to the runner's own file, and the files that `on-change`
//! touches.)

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, linkat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::directory::{DIRECTORY, cannot, enter, existing, remove_files, remove_temporary_files, temporary_name};
use super::file::RenderedFile;
use super::{VolumeError, split};

/// Files with temporary names in one directory tree. Dropping this without [`Staged::publish`] removes them.
#[derive(Debug)]
pub(in crate::agent) struct Staged {
    root: OwnedFd,
    /// The directories in use, by their paths below the root.
    directories: BTreeMap<String, Rc<OwnedFd>>,
    files: Vec<StagedFile>,
}

#[derive(Debug)]
struct StagedFile {
    directory: Rc<OwnedFd>,
    temporary: String,
    name: String,
    place: String,
    renamed: bool,
}

impl Staged {
    /// Opens a directory that exists: a volume, or the part of a volume that a container sees.
    pub(in crate::agent) fn open(directory: &Path) -> Result<Self, VolumeError> {
        let opened = openat(rustix::fs::CWD, directory, DIRECTORY, Mode::empty()).map_err(|error| {
            VolumeError::new(
                format!("cannot open the volume {}: {error}", directory.display()),
                "is the volume podkey-secrets (or podkey-bin, podkey-handover, podkey-env) mounted there in this container?",
            )
        })?;
        Ok(Self::within(opened))
    }

    /// Opens a directory, and makes it before if it is missing: outside a container nothing is mounted there.
    pub(super) fn make(directory: &Path) -> Result<Self, VolumeError> {
        std::fs::create_dir_all(directory).map_err(|error| {
            let message = format!("cannot make the directory {}: {error}", directory.display());
            VolumeError::new(message, "")
        })?;
        Self::open(directory)
    }

    /// For a directory that is open already.
    pub(super) fn within(root: OwnedFd) -> Self {
        Self {
            root,
            directories: BTreeMap::new(),
            files: Vec::new(),
        }
    }

    /// A directory below this directory, made if it is missing.
    pub(super) fn below(&self, name: &str) -> Result<Self, VolumeError> {
        let directory = enter(&self.root, name).map_err(|error| cannot("open the directory", name, error))?;
        // A temporary file that cannot be removed does no harm.
        let _ = remove_temporary_files(&directory);
        Ok(Self::within(directory))
    }

    /// Gives the opened directory back. Files that are not published are removed.
    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Writes one file under a temporary name beside the final name.
    pub(in crate::agent) fn stage(&mut self, file: &RenderedFile) -> Result<(), VolumeError> {
        self.stage_from(&file.place, file.mode, &mut file.bytes.expose())
    }

    /// Writes what `bytes` yields under a temporary name beside `place`.
    pub(in crate::agent) fn stage_from(
        &mut self,
        place: &str,
        mode: u32,
        bytes: &mut impl Read,
    ) -> Result<(), VolumeError> {
        let failed = |doing: &str, error: Errno| cannot(doing, place, error);
        let (parent, name) = split(place);
        let directory = self.directory(parent)?;
        match statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("look at", error)),
            Ok(found) => check_replaceable(place, FileType::from_raw_mode(found.st_mode))?,
        }
        let temporary = temporary_name();
        let opened = openat(
            &*directory,
            &temporary,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(|error| failed("create", error))?;
        // From here on dropping `self` removes the temporary file.
        self.files.push(StagedFile {
            directory,
            temporary,
            name: name.to_owned(),
            place: place.to_owned(),
            renamed: false,
        });
        let mut opened = std::fs::File::from(opened);
        std::io::copy(bytes, &mut opened)
            .map_err(|error| failed("write", Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        fchmod(&opened, Mode::from_raw_mode(mode)).map_err(|error| failed("set the mode of", error))
    }

    /// Makes a hard link to the file at the same `place` below the directory `from`.
    pub(super) fn link(&mut self, place: &str, from: &OwnedFd) -> Result<(), VolumeError> {
        let failed = |error: Errno| cannot("link", place, error);
        let (parent, name) = split(place);
        let source = existing(from, parent)
            .map_err(failed)?
            .ok_or_else(|| failed(Errno::NOENT))?;
        let found = statat(&source, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(failed(Errno::LOOP));
        }
        let directory = self.directory(parent)?;
        linkat(&source, name, &*directory, name, AtFlags::empty()).map_err(failed)?;
        self.files.push(StagedFile {
            directory,
            temporary: String::new(),
            name: name.to_owned(),
            place: place.to_owned(),
            renamed: true,
        });
        Ok(())
    }

    /// Removes a delivered file. A missing file is no error.
    pub(in crate::agent) fn remove(&self, place: &str) -> Result<(), VolumeError> {
        let (parent, name) = split(place);
        let removed = existing(&self.root, parent).and_then(|directory| match directory {
            None => Ok(()),
            Some(directory) => unlinkat(&directory, name, AtFlags::empty()),
        });
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(cannot("remove", place, error)),
        }
    }

    /// Removes the files of a directory, but not its subdirectories. Every file is tried; the first error is returned.
    pub(in crate::agent) fn remove_all(&self, directory: &str) -> Result<(), VolumeError> {
        let removed = existing(&self.root, directory).and_then(|opened| match opened {
            None => Ok(()),
            Some(opened) => remove_files(&opened, |_| true),
        });
        removed.map_err(|error| cannot("clear the directory", directory, error))
    }

    /// Renames every file to the final name, and returns how many there are. When one rename fails, all files of this run
    /// are removed.
    pub(in crate::agent) fn publish(mut self) -> Result<usize, VolumeError> {
        for file in self.files.iter_mut().filter(|file| !file.renamed) {
            renameat(&*file.directory, &file.temporary, &*file.directory, &file.name)
                .map_err(|error| cannot("rename", &file.place, error))?;
            file.renamed = true;
        }
        let count = self.files.len();
        self.files.clear();
        Ok(count)
    }

    /// Makes a directory if it is missing. (The kubelet would make it for another user, writable for all.)
    pub(super) fn make_directory(&mut self, path: &str) -> Result<(), VolumeError> {
        self.directory(path).map(drop)
    }

    /// The directory at `path` below the root. A missing directory is made. Temporary files of killed runs are removed
    /// when the directory is opened first.
    fn directory(&mut self, path: &str) -> Result<Rc<OwnedFd>, VolumeError> {
        if let Some(known) = self.directories.get(path) {
            return Ok(Rc::clone(known));
        }
        let root = self.root.try_clone();
        let mut current =
            Rc::new(root.map_err(|error| VolumeError::new(format!("cannot open the volume: {error}"), ""))?);
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            current =
                Rc::new(enter(current.as_fd(), segment).map_err(|error| cannot("open the directory", path, error))?);
        }
        // A temporary file that cannot be removed does no harm.
        let _ = remove_temporary_files(current.as_fd());
        self.directories.insert(path.to_owned(), Rc::clone(&current));
        Ok(current)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for file in &self.files {
            let name = if file.renamed { &file.name } else { &file.temporary };
            let _ = unlinkat(&*file.directory, name, AtFlags::empty());
        }
    }
}

/// Refuses everything but a regular file in the place of a delivered file.
fn check_replaceable(place: &str, found: FileType) -> Result<(), VolumeError> {
    let (what, hint) = match found {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => (
            "is a directory",
            "the kubelet makes a directory where a single file was missing when its container started: delete the pod",
        ),
        FileType::Symlink => (
            "is a symbolic link, which podkey neither follows nor replaces",
            "nothing but podkey should write into podkey's volume: delete the pod and find out which program wrote there",
        ),
        _ => ("is not a regular file", ""),
    };
    Err(VolumeError::new(format!("{place} {what}"), hint))
}

#[cfg(test)]
pub(in crate::agent::volume) mod tests;
