//! Reading a small file that the operator names.

use std::io;
use std::path::Path;

/// The largest file. Configs, certificates and CA bundles are smaller: the name of a larger file is a mistake.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Reads a whole file or pipe.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other("the file is larger than 4 MiB"));
    }
    std::fs::read(path)
}

/// Reads a whole regular file. For files that podkey reads again and again: a read from a pipe or a device may never end.
pub(super) fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    read(path)
}
