//! Standard output, which the runner reads for commands.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::job::commands;

/// Writes whole lines, at once.
pub(super) fn say(lines: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines)?;
    stdout.flush()
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
