//! The layout of files that `init` writes once: below `files` for the containers' common directory, below `mounts` for directories
//! with mounts of their own, and below `single` for files that are mounted on their own (`subPath`).

use super::{ContainerPaths, RenderedFile, Staged, VolumeError, env, kubelet_env, place, printed};
use crate::plan::{Destination, FILES_DIR, Plan, VOLUME_DIR, place_of_directory};
use crate::secret::Secret;

/// Opens the volume to write into it, and makes the directories that the containers mount.
pub(in crate::agent) fn stage(paths: &ContainerPaths, plan: &Plan) -> Result<Staged, VolumeError> {
    let mut staged = paths.open(VOLUME_DIR)?;
    staged.make_directory(FILES_DIR)?;
    for directory in plan.destinations().filter_map(Destination::directory) {
        staged.make_directory(&place_of_directory(directory))?;
    }
    Ok(staged)
}

/// The file for a single-file mount without a secret: empty, with mode 0000, so that tools fail and do not take the file
/// for the real one. (Without a file the kubelet would make a directory.) None: the file is not mounted on its own.
pub(in crate::agent) fn closed(destination: &Destination, place: String) -> Option<RenderedFile> {
    matches!(destination, Destination::Absolute(_)).then(|| RenderedFile {
        place,
        mode: 0,
        bytes: Secret::from(Vec::new()),
    })
}

/// Removes every file of the plan; single-file mounts are replaced by closed files.
pub(in crate::agent) fn clear(paths: &ContainerPaths, plan: &Plan) -> Result<(), VolumeError> {
    if plan.kubelet_env {
        kubelet_env::remove(paths)?;
    }
    if !plan.has_files() {
        return Ok(());
    }
    let mut staged = stage(paths, plan)?;
    for (index, destination) in plan.destinations().enumerate() {
        let file = destination.place(index);
        match closed(destination, file.clone()) {
            Some(closed) => staged.stage(&closed)?,
            None => match destination {
                // The names of the files came with the secret.
                Destination::EachField(name) => {
                    staged.remove_all(place(name.directory()).trim_end_matches('/'))?;
                }
                _ => staged.remove(&file)?,
            },
        }
    }
    staged.remove_all(&env::directory())?;
    staged.remove_all(&printed::directory())?;
    staged.publish().map(drop)
}
