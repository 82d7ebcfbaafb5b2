//! The termination message: a file that the kubelet reads when the container has ended.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use super::ContainerPaths;
use super::file::UNTRUSTED_PLACE;

const TERMINATION_LOG: &str = "/dev/termination-log";

/// Writes the termination message. Nothing here fails the run: the message is on stderr already, and the exit code stays.
pub(in crate::agent) fn write_termination_message(paths: &ContainerPaths, text: &str) {
    let file = paths.at(TERMINATION_LOG);
    if paths.makes_mounts()
        && let Some(parent) = file.parent()
    {
        let _ = std::fs::create_dir_all(parent);
    }
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .create(paths.makes_mounts())
        .custom_flags(UNTRUSTED_PLACE)
        .open(file);
    if let Ok(mut opened) = opened
        && opened.metadata().is_ok_and(|found| found.is_file())
    {
        let _ = opened.write_all(text.as_bytes());
    }
}
