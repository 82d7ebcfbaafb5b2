//! Files with an absolute destination in a pod without `podkey-init`: nobody could make them before the containers start, so the
//! kubelet cannot mount them. Their content is in the directory [`LINKED_DIR`] of the volume, and the started hook makes a symlink at
//! the destination, which is below [`LINKS_ROOT`].

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, mkdirat, openat, readlinkat, symlinkat};
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
    let failed = |error| cannot("make a symlink at", path, error);
    let below = path.strip_prefix(LINKS_ROOT).unwrap_or_default();
    let (directories, name) = split(below);
    let root: PathBuf = paths.at(LINKS_ROOT);
    let mut directory = openat(rustix::fs::CWD, &root, DIRECTORY, Mode::empty()).map_err(failed)?;
    for segment in directories.split('/').filter(|segment| !segment.is_empty()) {
        match mkdirat(&directory, segment, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        directory = openat(&directory, segment, DIRECTORY, Mode::empty()).map_err(failed)?;
    }
    match symlinkat(target, &directory, name) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let present = readlinkat(&directory, name, Vec::new());
            match present.is_ok_and(|present| Path::new(&*present.to_string_lossy()) == target) {
                true => Ok(()),
                false => Err(VolumeError::new(
                    format!("cannot deliver {path}: something else is there already, which podkey does not replace"),
                    "remove the file from the image, or choose another destination",
                )),
            }
        }
        Err(error) => Err(failed(error)),
    }
}
