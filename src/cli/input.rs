//! The input of a command that people run: a file, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context as _;

/// The largest manifest, in MiB. The manifests of a whole cluster are smaller.
const MAX_MANIFEST_MIB: u64 = 32;

/// The text of a manifest. The file `-` is standard input.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    read_at_most(MAX_MANIFEST_MIB, file)
}

/// The text of a file of at most `mib` MiB. The file `-` is standard input.
pub(super) fn read_at_most(mib: u64, file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        bounded(mib, io::stdin()).context("cannot read standard input")
    } else {
        let text = File::open(file).and_then(|file| bounded(mib, file));
        text.with_context(|| format!("cannot read {}", file.display()))
    }
}

fn bounded(mib: u64, reader: impl Read) -> io::Result<String> {
    let max = mib * 1024 * 1024;
    let mut bytes = Vec::new();
    let read = reader.take(max + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read > max) {
        return Err(io::Error::other(format!("it is larger than {mib} MiB")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not text in UTF-8"))
}
