//! The volume `podkey-handover`, which only `init` and the sidecar mount: the file in which `init` hands the client token to
//! the sidecar, and the sidecar's notes about restarts of the containers. The volume is in memory: no file outlives the machine's
//! run.

use super::{ContainerPaths, VolumeError, file, split};
use crate::plan::{HANDOVER_DIR, HANDOVER_FILE, RESTARTS_FILE};
use crate::secret::Secret;

/// The longest file, in bytes.
const MAX_HANDOVER: usize = 1024 * 1024;
/// The longest file of notes, in bytes.
const MAX_RESTARTS: usize = 4096;

/// Writes the handover, readable for this user alone.
pub(in crate::agent) fn write(paths: &ContainerPaths, json: &[u8]) -> Result<(), VolumeError> {
    write_file(paths, HANDOVER_FILE, json)
}

/// Writes the notes about restarts.
pub(in crate::agent) fn write_restarts(paths: &ContainerPaths, json: &[u8]) -> Result<(), VolumeError> {
    write_file(paths, RESTARTS_FILE, json)
}

/// Reads the notes about restarts. None: there are none.
pub(in crate::agent) fn read_restarts(paths: &ContainerPaths) -> std::io::Result<Option<Secret>> {
    file::read(&paths.at(RESTARTS_FILE), MAX_RESTARTS)
}

fn write_file(paths: &ContainerPaths, file: &str, json: &[u8]) -> Result<(), VolumeError> {
    let mut staged = paths.open(HANDOVER_DIR)?;
    staged.stage_from(split(file).1, 0o600, &mut &*json)?;
    staged.publish().map(drop)
}

/// Reads the file. None: there is no such file.
pub(in crate::agent) fn read(paths: &ContainerPaths) -> std::io::Result<Option<Secret>> {
    file::read(&paths.at(HANDOVER_FILE), MAX_HANDOVER)
}

/// Unlinks the file.
pub(in crate::agent) fn remove(paths: &ContainerPaths) -> Result<(), VolumeError> {
    paths.open(HANDOVER_DIR)?.remove(split(HANDOVER_FILE).1)
}
