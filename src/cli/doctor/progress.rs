//! A line on standard error that says what the doctor looks at, as long as it does. Nothing where standard error is no terminal.

use std::io::{IsTerminal as _, Write as _};

/// The line.
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            is_shown: std::io::stderr().is_terminal(),
        }
    }

    /// Replaces the line.
    pub(super) fn looking_at(&self, what: &str) {
        self.write(&format!("looking at {what} …"));
    }

    /// Replaces the line. 40 columns are as long as the longest line.
    fn write(&self, line: &str) {
        if self.is_shown {
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r{:40}\r{line}", "").and_then(|()| stderr.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.write("");
    }
}
