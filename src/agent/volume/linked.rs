//! Files with an absolute destination in a pod without `podkey-init`: nobody could make them before the containers start, so the
//! kubelet cannot mount them. Their content is in the directory [`LINKED_DIR`] of the volume, and the started hook makes a symlink at
//! the destination, which is below [`LINKS_ROOT`].

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, mkdirat, openat, readlinkat, statat, symlinkat};
use rustix::io::Errno;

use super::directory::{DIRECTORY, cannot};
use super::{ContainerPaths, VolumeError, split};
use crate::plan::{Destination, LINKED_DIR, LINKS_ROOT, Plan, SECRETS_DIR};

/// The shown name of the content of the file with this number in the plan. None: the destination of the file is no symlink.
pub(in crate::agent) fn shown(plan: &Plan, number: usize, destination: &Destination) -> Option<String> {
    (plan.hooks_alone && matches!(destination, Destination::Absolute(_))).then(|| format!("{LINKED_DIR}/{number}"))
}

/// Makes the symlinks of the plan. A symlink that is there already is left as it is; anything else in its place is an error.
pub(in crate::agent) fn link(paths: &ContainerPaths, plan: &Plan) -> Result<(), VolumeError> {
    for (number, destination) in plan.destinations().enumerate() {
        if let Some(shown) = shown(plan, number, destination) {
            let target = paths.at(&format!("{SECRETS_DIR}/{shown}"));
            link_one(paths, &destination.path(), &target)?;
        }
    }
    Ok(())
}

/// Makes one symlink and the directories above it, from [`LINKS_ROOT`] on. No symlink among them is followed.
fn link_one(paths: &ContainerPaths, path: &str, target: &Path) -> Result<(), VolumeError> {
    let below = path.strip_prefix(LINKS_ROOT).unwrap_or_default();
    let (directories, name) = split(below);
    let root: PathBuf = paths.at(LINKS_ROOT);
    let mut at = LINKS_ROOT.to_owned();
    let mut directory =
        openat(rustix::fs::CWD, &root, DIRECTORY, Mode::empty()).map_err(|error| refused(path, &at, error))?;
    for segment in directories.split('/').filter(|segment| !segment.is_empty()) {
        let made = mkdirat(&directory, segment, Mode::from_raw_mode(0o755));
        if let Err(error) = made.or_else(present) {
            return Err(refused(path, &at, error));
        }
        at = format!("{at}/{segment}");
        directory = openat(&directory, segment, DIRECTORY, Mode::empty()).map_err(|error| refused(path, &at, error))?;
    }
    match symlinkat(target, &directory, name) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => match what_is(&directory, name, target) {
            None => Ok(()),
            Some(what) => Err(VolumeError::new(
                format!("cannot deliver {path}: {what} is there already, which podkey does not replace"),
                "remove it from the image, or choose another destination",
            )),
        },
        Err(error) => Err(refused(path, &at, error)),
    }
}

/// An error that says that the directory is there is none.
fn present(error: Errno) -> Result<(), Errno> {
    match error {
        Errno::EXIST => Ok(()),
        error => Err(error),
    }
}

/// What is in the place of the symlink. None: podkey's symlink to this target.
fn what_is(directory: &OwnedFd, name: &str, target: &Path) -> Option<String> {
    if let Ok(present) = readlinkat(directory, name, Vec::new()) {
        let present = present.to_string_lossy();
        return (Path::new(&*present) != target).then(|| format!("a symlink to {present:?}"));
    }
    let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let kind = found.map(|found| FileType::from_raw_mode(found.st_mode));
    Some(match kind {
        Ok(FileType::Directory) => "a directory".to_owned(),
        Ok(FileType::RegularFile) => "a file".to_owned(),
        _ => "something else".to_owned(),
    })
}

/// Why the symlink at `path` cannot be made: the directory `at` refuses.
fn refused(path: &str, at: &str, error: Errno) -> VolumeError {
    let (what, hint) = match error {
        Errno::ROFS => (
            format!("{at} is on a read-only filesystem"),
            format!("mount an emptyDir at {at} in the container, or write a relative file, which is in {SECRETS_DIR}"),
        ),
        Errno::LOOP | Errno::NOTDIR => (
            format!("{at} is not a directory, and podkey follows no symlink"),
            "remove it from the image, or choose another destination".to_owned(),
        ),
        Errno::NOENT => (
            format!("there is no directory {at}"),
            format!("make it in the image, or write a relative file, which is in {SECRETS_DIR}"),
        ),
        Errno::ACCESS | Errno::PERM => (
            format!("the container's user cannot write in {at}"),
            "let this user write there, or choose another destination".to_owned(),
        ),
        error => return cannot("make a symlink at", path, error),
    };
    VolumeError::new(format!("cannot deliver {path}: {what}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_takes_no_symlink_is_told_with_what_to_do() {
        let no_directory = "/tmp/deep is not a directory, and podkey follows no symlink";
        for (error, what, hint) in [
            (
                Errno::ROFS,
                "/tmp/deep is on a read-only filesystem",
                "mount an emptyDir at /tmp/deep",
            ),
            (Errno::LOOP, no_directory, "remove it"),
            (Errno::NOTDIR, no_directory, "remove it"),
            (Errno::NOENT, "there is no directory /tmp/deep", "make it in the image"),
            (
                Errno::ACCESS,
                "the container's user cannot write in /tmp/deep",
                "let this user write",
            ),
        ] {
            let told = refused("/tmp/deep/er", "/tmp/deep", error);
            assert_eq!(told.message, format!("cannot deliver /tmp/deep/er: {what}"));
            assert!(told.hint.starts_with(hint), "{}", told.hint);
        }
    }
}
