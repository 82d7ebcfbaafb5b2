//! Where the volumes of a measured pod are: in memory, as podkey's are in a cluster. On a disk the kernel writes each file that
//! replaces another one at once, which costs more than anything that podkey does.

use std::path::Path;

/// An empty folder, gone when dropped.
pub(crate) fn folder() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    }
}
