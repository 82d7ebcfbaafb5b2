//! Reading the small files that the operator names, and nothing that is no file: a pipe or a device would never end.

use std::io;
use std::path::Path;

/// No config, certificate or CA bundle is larger; whatever is was named by mistake.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The whole of a regular file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if found.len() > MAX_BYTES {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    std::fs::read(path)
}
