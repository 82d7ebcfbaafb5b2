//! Reading a small file that the operator names.

use std::io;
use std::path::Path;

/// No config, certificate or CA bundle is larger: a larger file was named by mistake.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The whole of a file, also of a pipe.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other("the file is larger than 4 MiB"));
    }
    std::fs::read(path)
}

/// The whole of a regular file. For files that are read again and again: a read from a pipe or a device may never end.
pub(super) fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    read(path)
}
