//! The runner's command files, such as the file that `GITHUB_ENV` names. The runner makes new files for each step.

use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use rustix::fs::OFlags;

use super::Hook;
use crate::agent::report::Failure;
use crate::plan::ExitCode;

/// Appends the text to the file that `variable` names. The runner's own file is never a symlink.
pub(super) fn append(hook: &Hook, variable: &'static str, text: &[u8]) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    let cannot = |why: String| {
        Failure::new(
            ExitCode::CannotWrite,
            format!("cannot write the file that {variable} names: {why}"),
            "the runner makes this file for each step: is this hook run by GitHub's runner?",
        )
    };
    let file = hook
        .text(variable)
        .ok_or_else(|| cannot("the variable is not set".to_owned()))?;
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .append(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(file);
    let mut opened = match opened {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(cannot("it is a symbolic link".to_owned()));
        }
        opened => opened.map_err(|error| cannot(error.to_string()))?,
    };
    let before = match opened.metadata() {
        Ok(found) if found.is_file() => found.len(),
        _ => return Err(cannot("it is not a regular file".to_owned())),
    };
    // The author's hook may have written a last line without a line feed: our first line must not continue that line.
    let mut last = [b'\n'];
    let line_feed: &[u8] = match opened.read_at(&mut last, before.saturating_sub(1)) {
        _ if last == *b"\n" => b"",
        _ => b"\n",
    };
    let written = opened.write_all(line_feed).and_then(|()| opened.write_all(text));
    written.map_err(|error| {
        // The runner reads the file even if the hook failed: no part of a secret may stay in it.
        let _ = opened.set_len(before);
        cannot(error.to_string())
    })
}
