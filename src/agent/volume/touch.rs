//! `on-change: touch:FILE`: gives a file in a directory of the delivered files the present time, so that an app that watches the
//! file reloads.

use std::io;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::directory::{DIRECTORY, enter};
use super::{ContainerPaths, split};

/// Why a file was not touched.
#[derive(Debug)]
pub(in crate::agent) struct TouchError {
    pub why: String,
    pub hint: &'static str,
}

impl TouchError {
    fn new(doing: &str, error: Errno) -> Self {
        Self {
            why: format!("cannot {doing}: {error}"),
            hint: match error {
                Errno::LOOP | Errno::NOTDIR => "secrets are delivered there: touch a file in another place",
                _ => "",
            },
        }
    }
}

/// Sets the time of the file at this place of the volume. A missing file is made, empty and readable for all. No symlink is followed in any part of the
/// path.
pub(in crate::agent) fn touch(paths: &ContainerPaths, place: &str) -> Result<(), TouchError> {
    let failed = TouchError::new;
    let (parent, name) = split(place);
    let mut directory = openat(rustix::fs::CWD, paths.volume_directory(), DIRECTORY, Mode::empty())
        .map_err(|error| failed("open the volume of the files", error))?;
    for segment in parent.split('/').filter(|segment| !segment.is_empty()) {
        directory = enter(&directory, segment).map_err(|error| failed("open the directory of the file", error))?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let opened = openat(&directory, name, flags, mode).map_err(|error| failed("open the file", error))?;
    let opened = std::fs::File::from(opened);
    let touched = opened.metadata().and_then(|found| match found.is_file() {
        false => Err(io::Error::other("it is not a regular file")),
        true => {
            // The umask may have removed bits.
            rustix::fs::fchmod(&opened, mode)?;
            opened.set_modified(SystemTime::now())
        }
    });
    touched.map_err(|error| TouchError {
        why: format!("cannot touch the file: {error}"),
        hint: "",
    })
}
