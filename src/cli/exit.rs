//! How a command that people run ends: its exit codes, and how it reports an error.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

/// EX_USAGE of sysexits.h: the command line, the config or the input cannot be used.
pub const EX_USAGE: u8 = 64;
/// The exit code of a program that SIGPIPE ended, as shells report it: the reader of our output has closed it, as `head` does.
const SIGPIPE: u8 = 141;

/// The command cannot do its work: reports the error, unless it is that nobody reads our output any more.
pub fn unusable(error: impl Into<anyhow::Error>) -> ExitCode {
    let error = error.into();
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    if io.is_some_and(|io| io.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::from(SIGPIPE);
    }
    // An error with its causes, on one line. No error's own text repeats its cause.
    let _ = writeln!(std::io::stderr(), "{error:#}");
    ExitCode::from(EX_USAGE)
}
