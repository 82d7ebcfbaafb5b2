//! One file: what is written, reading it, and rewriting a file that is mounted on its own. No symlink is followed, and no
//! pipe holds the agent up.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chmod, fchmod, statat};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// One file to write.
#[derive(Debug)]
pub(in crate::agent) struct RenderedFile {
    /// The path below the root of the volume, with slashes.
    pub place: String,
    /// Permission bits.
    pub mode: u32,
    /// The content.
    pub bytes: Secret,
}

/// How the content of a file is opened.
pub(super) const READING: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Flags for a file in a place where somebody else could have put a symlink or a pipe.
pub(super) const UNTRUSTED_PLACE: i32 = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).bits() as i32;

fn not_regular() -> io::Error {
    io::Error::other("it is not a regular file")
}

/// The content of a file. None: there is no such file. A file with more than `limit` bytes is an error.
pub(in crate::agent) fn read(file: &Path, limit: usize) -> io::Result<Option<Secret>> {
    read_with(file, OFlags::NONBLOCK.union(OFlags::NOFOLLOW), limit)
}

fn read_with(file: &Path, flags: OFlags, limit: usize) -> io::Result<Option<Secret>> {
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(file);
    match opened {
        Ok(opened) => content(opened, limit).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The content of a file that may be a symlink: the kubelet makes such files, in a volume that the containers cannot write. None:
/// there is no such file. A file with more than `limit` bytes is an error.
pub(super) fn read_followed(file: &Path, limit: usize) -> io::Result<Option<Secret>> {
    read_with(file, OFlags::NONBLOCK, limit)
}

/// The content of an open file. A file with more than `limit` bytes is an error.
pub(super) fn content(opened: std::fs::File, limit: usize) -> io::Result<Secret> {
    let found = opened.metadata()?;
    if !found.is_file() {
        return Err(not_regular());
    }
    if found.len() > limit as u64 {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(found.len() as usize + 1));
    opened.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(Secret::from(bytes))
}

/// Replaces the content and the mode of a file that a container has mounted on its own. Such a file can neither be removed
/// nor replaced by a rename.
pub(super) fn rewrite(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).custom_flags(UNTRUSTED_PLACE);
    let mut opened = match options.open(file) {
        // The mode may deny writing even to the owner.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let found = statat(rustix::fs::CWD, file, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
                return Err(not_regular());
            }
            chmod(file, Mode::RUSR | Mode::WUSR)?;
            options.open(file)?
        }
        opened => opened?,
    };
    if !opened.metadata()?.is_file() {
        return Err(not_regular());
    }
    opened.set_len(0)?;
    opened.write_all(bytes)?;
    fchmod(&opened, Mode::from_raw_mode(mode))?;
    Ok(())
}
