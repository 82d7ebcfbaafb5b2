//! The only code that writes to disk. Files are first written whole under temporary names, then all renamed; every
//! directory is opened from the one above it, and no symbolic link is ever followed or replaced.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::report::{Code, Failure};
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

const DIRECTORY: OFlags = OFlags::RDONLY
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
    /// Opens the volume. `create` makes it where it is missing (outside a container).
    pub(super) fn open(volume: &Path, create: bool) -> Result<Self, Failure> {
        let shown = volume.display();
        if create {
            std::fs::create_dir_all(volume)
                .map_err(|error| Failure::new(Code::CannotWrite, format!("cannot make {shown}: {error}"), ""))?;
        }
        let volume = openat(rustix::fs::CWD, volume, DIRECTORY, Mode::empty()).map_err(|error| {
            Failure::new(
                Code::CannotWrite,
                format!("cannot open the volume {shown}: {error}"),
                "is the volume podkey-secrets mounted there in this container?",
            )
        })?;
        Ok(Self {
            volume,
            directories: BTreeMap::new(),
            files: Vec::new(),
        })
    }

    /// Writes one file under a temporary name beside its destination.
    pub(super) fn stage(&mut self, file: &Rendered) -> Result<(), Failure> {
        let place = file.place.as_str();
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
                        Code::CannotWrite,
                        format!("{place} is a directory"),
                        "the kubelet makes one where a single file was missing when its container started: delete the pod",
                    ));
                }
                FileType::Symlink => {
                    return Err(Failure::new(
                        Code::CannotWrite,
                        format!("{place} is a symbolic link, which podkey neither follows nor replaces"),
                        "nothing but podkey should write into its volume: delete the pod and find out what did",
                    ));
                }
                _ => {
                    return Err(Failure::new(
                        Code::CannotWrite,
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
        opened
            .write_all(file.bytes.expose())
            .map_err(|error| failed("write", Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        fchmod(&opened, Mode::from_raw_mode(file.mode)).map_err(|error| failed("set the mode of", error))
    }

    /// Gives every file its name. When one of them fails, all that this run put there is removed.
    pub(super) fn publish(mut self) -> Result<usize, Failure> {
        for file in &mut self.files {
            renameat(&*file.directory, &file.temporary, &*file.directory, &file.name)
                .map_err(|error| cannot("rename", &file.place, error))?;
            file.renamed = true;
        }
        let count = self.files.len();
        self.files.clear();
        Ok(count)
    }

    /// The directory at `path` below the volume, made where it is missing, its stale temporary files swept once.
    fn directory(&mut self, path: &str) -> Result<Rc<OwnedFd>, Failure> {
        if let Some(known) = self.directories.get(path) {
            return Ok(Rc::clone(known));
        }
        let mut current = Rc::new(
            self.volume
                .try_clone()
                .map_err(|error| Failure::new(Code::CannotWrite, format!("cannot open the volume: {error}"), ""))?,
        );
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

/// Opens a directory below another, made by us with mode 0755 where it is missing.
fn enter(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
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
    let mut stale = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name
            .strip_prefix(TEMPORARY.as_bytes())
            .is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit))
        {
            stale.push(entry.file_name().to_owned());
        }
    }
    for name in stale {
        unlinkat(&directory, &name, AtFlags::empty())?;
    }
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
    Failure::new(Code::CannotWrite, format!("cannot {doing} {place}: {error}"), hint)
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
