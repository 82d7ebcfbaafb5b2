//! Standard output, which the runner reads for commands.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::MakeWriter;

use crate::job::commands;

/// A pipe with any free space takes this many bytes at once (`PIPE_BUF`, pipe(7)), so such a write never blocks.
const AT_ONCE: usize = 4096;
/// A runner that reads nothing for this long is taken to have stopped reading. The deadline of the hook cannot end a write that
/// blocks.
const STALLED: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// The runner has stopped reading.
static STOPPED_READING: AtomicBool = AtomicBool::new(false);

/// Prints whole lines at once. Fails if the runner has stopped reading, or if a signal comes during the wait.
pub(super) fn print(lines: &[u8]) -> io::Result<()> {
    let stdout = rustix::stdio::stdout();
    let mut rest = lines;
    while !rest.is_empty() {
        if STOPPED_READING.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], Some(&STALLED))? == 0 {
            STOPPED_READING.store(true, Ordering::Relaxed);
            continue;
        }
        let written = rustix::io::write(stdout, &rest[..rest.len().min(AT_ONCE)])?;
        rest = &rest[written..];
    }
    Ok(())
}

/// The writer of log lines: whatever an event contains, it is printed as one line that the runner does not take for a command.
#[derive(Debug, Clone, Copy)]
pub struct PlainLines;

impl<'a> MakeWriter<'a> for PlainLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for PlainLines {
    /// `event` is one whole event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        print(commands::plain(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
