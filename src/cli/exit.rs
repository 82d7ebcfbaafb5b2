//! How a command that people run ends: its exit codes, and how it reports an error.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use super::visible::visible;

/// EX_USAGE of sysexits.h: the command line, the config or the input is not valid.
pub const EX_USAGE: u8 = 64;
/// EX_UNAVAILABLE of sysexits.h: a server that the command needs cannot be reached.
#[cfg(feature = "cli")]
pub(super) const EX_UNAVAILABLE: u8 = 69;
/// The exit code for a process that SIGPIPE ended, as shells report it: the reader of our output, such as `head`, has closed it.
const SIGPIPE: u8 = 141;

/// Ends a command that cannot do its work: prints the error, except a broken pipe, which means that nobody reads our output.
pub fn unusable(error: impl Into<anyhow::Error>) -> ExitCode {
    let error = error.into();
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    if io.is_some_and(|io| io.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::from(SIGPIPE);
    }
    // The error with its causes, on one line. (The text of an error never includes its cause.) A file may have any name.
    let _ = writeln!(std::io::stderr(), "{}", visible(&format!("{error:#}")));
    ExitCode::from(EX_USAGE)
}
