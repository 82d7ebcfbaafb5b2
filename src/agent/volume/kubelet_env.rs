//! The volume `podkey-env`, which only podkey's own containers mount: one file with the variables that the kubelet puts into
//! containers. (Where the sidecar keeps the variables fresh, their values stand beside that file, see `refreshed`.)

use super::{ContainerPaths, VolumeError};
use crate::plan::{KUBELET_ENV_DIR, KUBELET_ENV_FILE, Mode};
use crate::secret::Secret;

/// Replaces the file. The kubelet reads as root, so nobody but podkey's user needs to read the file.
pub(in crate::agent) fn write(paths: &ContainerPaths, file: &Secret) -> Result<(), VolumeError> {
    let mut staged = paths.open(KUBELET_ENV_DIR)?;
    staged.stage_from(KUBELET_ENV_FILE, Mode::OWNER.bits(), &mut file.expose())?;
    staged.publish().map(drop)
}

/// Removes the file.
pub(in crate::agent) fn remove(paths: &ContainerPaths) -> Result<(), VolumeError> {
    paths.open(KUBELET_ENV_DIR)?.remove(KUBELET_ENV_FILE)
}
