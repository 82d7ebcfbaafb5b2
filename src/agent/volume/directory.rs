//! Directories of a volume: each is opened from the directory above it, and no symlink is ever followed.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use super::VolumeError;

/// How a directory is opened: the directory itself, not the target of a symlink.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The prefix of a temporary name; 16 hexadecimal digits follow. Temporary files that a killed run left are removed.
const TEMPORARY: &str = ".podkey-tmp-";

/// A temporary name that no other file has.
pub(super) fn temporary_name() -> String {
    format!("{TEMPORARY}{:016x}", fastrand::u64(..))
}

/// The directory at `path` below another directory. None: there is no such directory.
pub(super) fn existing(root: &OwnedFd, path: &str) -> Result<Option<OwnedFd>, Errno> {
    let mut current = openat(root, ".", DIRECTORY, Mode::empty())?;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        current = match openat(&current, segment, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
    }
    Ok(Some(current))
}

/// Opens a directory below another one. A missing directory is made, with mode 0755.
pub(super) fn enter(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_raw_mode(0o755);
    match mkdirat(&parent, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let directory = openat(&parent, name, DIRECTORY, Mode::empty())?;
    let found = fstat(&directory)?;
    // The umask may have removed bits that users of other containers need, and the kubelet may have set too many. With
    // `fsGroup` the setgid bit of the volume gives the pod's group to every file below: the setgid bit stays.
    let mode = mode | (Mode::from_raw_mode(found.st_mode) & Mode::SGID);
    if Mode::from_raw_mode(found.st_mode) != mode && found.st_uid == rustix::process::geteuid().as_raw() {
        fchmod(&directory, mode)?;
    }
    Ok(directory)
}

/// Removes the temporary files of killed runs.
pub(super) fn remove_temporary_files(directory: impl AsFd) -> Result<(), Errno> {
    remove_files(directory, |name| {
        name.strip_prefix(TEMPORARY.as_bytes())
            .is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Removes the files whose names are `unwanted`, and no directory. Every file is tried; the first error is returned.
pub(super) fn remove_files(directory: impl AsFd, unwanted: impl Fn(&[u8]) -> bool) -> Result<(), Errno> {
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
        let removed = unlinkat(&directory, &name, AtFlags::empty());
        outcome = outcome.and(removed);
    }
    outcome
}

/// The names in a directory. Names that are not text are left out: podkey gives no such names.
pub(super) fn entries(directory: impl AsFd) -> Result<BTreeSet<String>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        names.extend(
            name.into_string()
                .ok()
                .filter(|name| !matches!(name.as_str(), "." | "..")),
        );
    }
    Ok(names)
}

/// The path of every file below a directory.
pub(super) fn walk(directory: &OwnedFd, above: &str, paths: &mut Vec<String>) {
    for name in entries(directory).unwrap_or_default() {
        let path = match above {
            "" => name.clone(),
            above => format!("{above}/{name}"),
        };
        match openat(directory, name.as_str(), DIRECTORY, Mode::empty()) {
            Ok(inner) => walk(&inner, &path, paths),
            Err(_) => paths.push(path),
        }
    }
}

/// Removes a file, a symlink, or a directory with its contents; no symlink is followed. Everything is tried; the first
/// error is returned.
pub(super) fn remove_tree(parent: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<(), Errno> {
    match unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error),
    }
    let directory = openat(&parent, name, DIRECTORY, Mode::empty())?;
    let mut outcome = Ok(());
    for name in entries(&directory)? {
        let removed = remove_tree(&directory, name.as_str());
        outcome = outcome.and(removed);
    }
    drop(directory);
    let removed = unlinkat(&parent, name, AtFlags::REMOVEDIR);
    outcome.and(removed)
}

/// `doing` failed at `place`.
pub(super) fn cannot(doing: &str, place: &str, error: Errno) -> VolumeError {
    let hint = match error {
        Errno::NOSPC | Errno::DQUOT => "the volume is full: raise the volume's sizeLimit, or deliver less",
        Errno::ROFS => "the volume must not be mounted read-only in podkey's own containers",
        Errno::ACCESS | Errno::PERM => {
            "another user owns the file or directory: podkey's containers must all run as one user, and that user must be \
             able to write into the volume"
        }
        Errno::LOOP | Errno::NOTDIR => {
            "a part of the path is a symbolic link or not a directory: nothing but podkey should write into podkey's volume"
        }
        Errno::BUSY => "a container has this file mounted: the file is written once, before the containers start",
        _ => "",
    };
    VolumeError::new(format!("cannot {doing} {place}: {error}"), hint)
}
