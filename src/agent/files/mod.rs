//! Writes what is delivered, and nobody else does. (A job's variables are appended to the runner's own file by its hook, and what
//! `on-change` touches is made there.) Files are first written whole under temporary names, then all renamed; every
//! directory is opened from the one above it, and no symbolic link is ever followed or replaced. [`generations`] replaces
//! many files at once.

mod generations;

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, chmod, fchmod, fstat, linkat, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use zeroize::Zeroizing;

pub(super) use self::generations::{Content, Generations};
use super::report::Failure;
use crate::plan::{CURRENT, ExitCode};
use crate::secret::Secret;

/// One file to write.
#[derive(Debug)]
pub(super) struct Rendered {
    /// Below the root of the volume, with slashes.
    pub place: String,
    /// Permission bits.
    pub mode: u32,
    /// The content.
    pub bytes: Secret,
}

/// Temporary names: this, and 16 hexadecimal digits. Ones that a killed run left behind are swept.
const TEMPORARY: &str = ".podkey-tmp-";

/// How a directory is opened: itself, not what a link leads to.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Files written under temporary names. Dropped without [`Staged::publish`], nothing of them stays.
#[derive(Debug)]
pub(super) struct Staged {
    volume: OwnedFd,
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
    /// Opens the volume, or what a container sees of it. `create` makes it where it is missing (outside a container).
    pub(super) fn open(volume: &Path, create: bool) -> Result<Self, Failure> {
        let shown = volume.display();
        if create {
            std::fs::create_dir_all(volume)
                .map_err(|error| Failure::new(ExitCode::CannotWrite, format!("cannot make {shown}: {error}"), ""))?;
        }
        let volume = openat(rustix::fs::CWD, volume, DIRECTORY, Mode::empty()).map_err(|error| {
            Failure::new(
                ExitCode::CannotWrite,
                format!("cannot open the volume {shown}: {error}"),
                "is the volume podkey-secrets (or podkey-bin, podkey-handover) mounted there in this container?",
            )
        })?;
        Ok(Self::within(volume))
    }

    /// The same below a directory that is open already.
    fn within(directory: OwnedFd) -> Self {
        Self {
            volume: directory,
            directories: BTreeMap::new(),
            files: Vec::new(),
        }
    }

    /// Writes one file under a temporary name beside its destination.
    pub(super) fn stage(&mut self, file: &Rendered) -> Result<(), Failure> {
        self.stage_from(&file.place, file.mode, &mut file.bytes.expose())
    }

    /// The same with what is read from somewhere.
    pub(super) fn stage_from(&mut self, place: &str, mode: u32, bytes: &mut impl Read) -> Result<(), Failure> {
        let failed = |doing: &str, error: Errno| cannot(doing, place, error);
        let (parent, name) = place.rsplit_once('/').unwrap_or(("", place));
        let directory = self.directory(parent)?;
        match statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("look at", error)),
            Ok(found) => match FileType::from_raw_mode(found.st_mode) {
                FileType::RegularFile => {}
                FileType::Directory => {
                    return Err(Failure::new(
                        ExitCode::CannotWrite,
                        format!("{place} is a directory"),
                        "the kubelet makes one where a single file was missing when its container started: delete the pod",
                    ));
                }
                FileType::Symlink => {
                    return Err(Failure::new(
                        ExitCode::CannotWrite,
                        format!("{place} is a symbolic link, which podkey neither follows nor replaces"),
                        "nothing but podkey should write into its volume: delete the pod and find out what did",
                    ));
                }
                _ => {
                    return Err(Failure::new(
                        ExitCode::CannotWrite,
                        format!("{place} is no regular file"),
                        "",
                    ));
                }
            },
        }
        let temporary = format!("{TEMPORARY}{:016x}", fastrand::u64(..));
        let opened = openat(
            &*directory,
            &temporary,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(|error| failed("create", error))?;
        // From here on the temporary file is ours to remove.
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

    /// Gives the file that is at `place` below another directory the same place here: one more name of the same file.
    fn link(&mut self, place: &str, from: &OwnedFd) -> Result<(), Failure> {
        let failed = |error: Errno| cannot("link", place, error);
        let (parent, name) = place.rsplit_once('/').unwrap_or(("", place));
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

    /// Removes a delivered file, if it is there.
    pub(super) fn remove(&self, place: &str) -> Result<(), Failure> {
        let (parent, name) = place.rsplit_once('/').unwrap_or(("", place));
        let removed = existing(&self.volume, parent).and_then(|directory| match directory {
            None => Ok(()),
            Some(directory) => unlinkat(&directory, name, AtFlags::empty()),
        });
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(cannot("remove", place, error)),
        }
    }

    /// Removes every file of a directory, and none of a directory in it; all of them are tried, and the first error is told.
    pub(super) fn remove_all(&self, place: &str) -> Result<(), Failure> {
        let removed = existing(&self.volume, place).and_then(|directory| match directory {
            None => Ok(()),
            Some(directory) => remove_where(&directory, |_| true),
        });
        removed.map_err(|error| cannot("clear the directory", place, error))
    }

    /// Gives every file its name. When one of them fails, all that this run put there is removed.
    pub(super) fn publish(mut self) -> Result<usize, Failure> {
        for file in self.files.iter_mut().filter(|file| !file.renamed) {
            renameat(&*file.directory, &file.temporary, &*file.directory, &file.name)
                .map_err(|error| cannot("rename", &file.place, error))?;
            file.renamed = true;
        }
        let count = self.files.len();
        self.files.clear();
        Ok(count)
    }

    /// Makes a directory below the volume where it is missing: the kubelet would make it another one's, for all to write.
    pub(super) fn make_directory(&mut self, path: &str) -> Result<(), Failure> {
        self.directory(path).map(drop)
    }

    /// The directory at `path` below the volume, made where it is missing, its stale temporary files swept once.
    fn directory(&mut self, path: &str) -> Result<Rc<OwnedFd>, Failure> {
        if let Some(known) = self.directories.get(path) {
            return Ok(Rc::clone(known));
        }
        let mut current =
            Rc::new(self.volume.try_clone().map_err(|error| {
                Failure::new(ExitCode::CannotWrite, format!("cannot open the volume: {error}"), "")
            })?);
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            current =
                Rc::new(enter(current.as_fd(), segment).map_err(|error| cannot("open the directory", path, error))?);
        }
        // What cannot be swept does no harm.
        let _ = sweep(current.as_fd());
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

/// The directory at `path` below another, if it is there.
fn existing(root: &OwnedFd, path: &str) -> Result<Option<OwnedFd>, Errno> {
    let mut current = openat(root, ".", DIRECTORY, Mode::empty())?;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        current = match openat(&current, segment, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
    }
    Ok(Some(current))
}

/// Opens a directory below another, made by us with mode 0755 where it is missing.
pub(super) fn enter(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_raw_mode(0o755);
    match mkdirat(&parent, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let directory = openat(&parent, name, DIRECTORY, Mode::empty())?;
    let found = fstat(&directory)?;
    // The umask may have taken bits away that other containers' users need, the kubelet may have given too many. With
    // `fsGroup` the volume's setgid bit gives the pod's group to all that is made below it: that bit stays.
    let mode = mode | (Mode::from_raw_mode(found.st_mode) & Mode::SGID);
    if Mode::from_raw_mode(found.st_mode) != mode && found.st_uid == rustix::process::geteuid().as_raw() {
        fchmod(&directory, mode)?;
    }
    Ok(directory)
}

fn sweep(directory: impl AsFd) -> Result<(), Errno> {
    remove_where(directory, |name| {
        name.strip_prefix(TEMPORARY.as_bytes())
            .is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Removes the files with such names.
fn remove_where(directory: impl AsFd, unwanted: impl Fn(&[u8]) -> bool) -> Result<(), Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_directory = matches!(name.to_bytes(), b"." | b"..") || entry.file_type() == FileType::Directory;
        if !is_directory && unwanted(name.to_bytes()) {
            names.push(name.to_owned());
        }
    }
    let mut outcome = Ok(());
    for name in names {
        // What comes after a failure is removed too.
        let removed = unlinkat(&directory, &name, AtFlags::empty());
        outcome = outcome.and(removed);
    }
    outcome
}

/// Where the files of a directory that containers see are now: it changes where a sidecar keeps them fresh, and where it led to
/// a moment ago stays as it was for a moment more.
pub(super) fn current(directory: &Path) -> PathBuf {
    match std::fs::read_link(directory.join(CURRENT)) {
        Ok(target) if target.to_str().is_some_and(generations::is_generation) => directory.join(target),
        _ => directory.to_owned(),
    }
}

/// The content of a file that the containers see, at most `limit` bytes of it; none where it is not there.
pub(super) fn read(file: &Path, limit: usize) -> std::io::Result<Option<Secret>> {
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32)
        .open(file);
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    content(opened, limit).map(Some)
}

/// All that is in an open file, at most `limit` bytes.
fn content(opened: std::fs::File, limit: usize) -> std::io::Result<Secret> {
    let found = opened.metadata()?;
    if !found.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    if found.len() > limit as u64 {
        return Err(std::io::Error::other(format!("it is larger than {limit} bytes")));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(found.len() as usize + 1));
    opened.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(Secret::from(bytes))
}

/// Replaces the content and the mode of a file that a container has mounted on its own: it can be neither renamed over nor
/// removed, only written.
pub(super) fn rewrite(file: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).custom_flags(flags);
    let mut opened = match options.open(file) {
        // Its mode lets not even its owner write.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let found = statat(rustix::fs::CWD, file, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
                return Err(std::io::Error::other("it is no regular file"));
            }
            chmod(file, Mode::RUSR | Mode::WUSR)?;
            options.open(file)?
        }
        opened => opened?,
    };
    if !opened.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    opened.set_len(0)?;
    opened.write_all(bytes)?;
    fchmod(&opened, Mode::from_raw_mode(mode))?;
    Ok(())
}

fn cannot(doing: &str, place: &str, error: Errno) -> Failure {
    let hint = match error {
        Errno::NOSPC | Errno::DQUOT => "the volume is full: raise its sizeLimit, or deliver less",
        Errno::ROFS => "the volume must not be mounted read-only in podkey's own containers",
        Errno::ACCESS | Errno::PERM => {
            "another user owns what is there: podkey's containers must all run as one user, and the volume must let it write"
        }
        Errno::LOOP | Errno::NOTDIR => {
            "something there is a symbolic link or no directory: nothing but podkey should write into its volume"
        }
        Errno::BUSY => "a container has this file mounted: it is written once, before the containers start",
        _ => "",
    };
    Failure::new(ExitCode::CannotWrite, format!("cannot {doing} {place}: {error}"), hint)
}

/// Writes the termination message, if the pod has a place for it. `create` makes one (outside a container).
pub(super) fn write_termination_message(file: &Path, text: &str, create: bool) {
    // Best effort: the message is on stderr already, and nothing here may change the exit code.
    if create && let Some(parent) = file.parent() {
        let _ = std::fs::create_dir_all(parent);
    }
    // Nor may a pipe or a link in its place keep us here, or lead elsewhere.
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .create(create)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32)
        .open(file);
    if let Ok(mut opened) = opened
        && opened.metadata().is_ok_and(|found| found.is_file())
    {
        let _ = opened.write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests;
