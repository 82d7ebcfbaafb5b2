//! Standard output, which the runner reads for commands.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::MakeWriter;

use crate::job::commands;

/// A pipe that takes anything takes so many bytes at once (`PIPE_BUF`, pipe(7)): such a write never waits.
const AT_ONCE: usize = 4096;
/// A runner that takes nothing for so long takes nothing any more. The hook's own deadline cannot end a write that waits.
const STALLED: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// It has been waited for once.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// Writes whole lines, at once. Fails where the runner has stopped to read, and with a signal that comes while it is waited for.
pub(super) fn say(lines: &[u8]) -> io::Result<()> {
    let stdout = rustix::stdio::stdout();
    let mut rest = lines;
    while !rest.is_empty() {
        if GIVEN_UP.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], Some(&STALLED))? == 0 {
            GIVEN_UP.store(true, Ordering::Relaxed);
            continue;
        }
        let written = rustix::io::write(stdout, &rest[..rest.len().min(AT_ONCE)])?;
        rest = &rest[written..];
    }
    Ok(())
}

/// For log lines, each of which becomes one line for people that is no command, whatever is in it.
#[derive(Debug, Clone, Copy)]
pub struct PlainLines;

impl<'a> MakeWriter<'a> for PlainLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for PlainLines {
    /// A formatted event comes in one piece.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        say(commands::plain(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
