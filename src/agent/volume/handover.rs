//! The volume `podkey-handover`, which only `init` and the sidecar mount: one file, in which `init` hands the client token to
//! the sidecar.

use super::{ContainerPaths, VolumeError, file, split};
use crate::plan::{HANDOVER_DIR, HANDOVER_FILE};
use crate::secret::Secret;

/// The longest file, in bytes.
const MAX_HANDOVER: usize = 1024 * 1024;

/// Writes the file, readable for this user alone.
pub(in crate::agent) fn write(paths: &ContainerPaths, json: &[u8]) -> Result<(), VolumeError> {
    let mut staged = paths.open(HANDOVER_DIR)?;
    staged.stage_from(name(), 0o600, &mut &*json)?;
    staged.publish().map(drop)
}

/// Reads the file. None: there is no such file.
pub(in crate::agent) fn read(paths: &ContainerPaths) -> std::io::Result<Option<Secret>> {
    file::read(&paths.at(HANDOVER_FILE), MAX_HANDOVER)
}

/// Unlinks the file.
pub(in crate::agent) fn remove(paths: &ContainerPaths) -> Result<(), VolumeError> {
    paths.open(HANDOVER_DIR)?.remove(name())
}

fn name() -> &'static str {
    split(HANDOVER_FILE).1
}
