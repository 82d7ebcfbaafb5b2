//! The log of a program that writes a line for each request: batched, bounded, and never in the way of an answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for stderr.
const MAX_WAITING_LINES: usize = 128;
/// The longest line. With the number of lines that wait it bounds what the log holds, whatever is logged.
const MAX_LINE_BYTES: usize = 32 * 1024;
/// For so long a thread waits for room among them: whoever takes the log may be slow for a moment.
const PATIENCE: Duration = Duration::from_millis(200);
/// After a line was left out, no thread waits for so long.
const IMPATIENCE: Duration = Duration::from_secs(1);
/// For so long the end of the program waits for the last lines to be taken.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Lines on their way to stderr. A thread of its own writes all lines that have come together in one go, since writing each
/// costs more than a request. Where nobody takes them, lines are left out rather than answers, and their number is told
/// once somebody does.
pub(super) struct Lines {
    lines: SyncSender<Queued>,
    left_out: Arc<AtomicU64>,
    impatient_until: Mutex<Option<Instant>>,
}

enum Queued {
    Line(Vec<u8>),
    End,
}

/// When it is dropped, the lines that wait are written.
pub struct LastLines {
    lines: SyncSender<Queued>,
    written: Receiver<()>,
}

impl Drop for LastLines {
    fn drop(&mut self) {
        if send(&self.lines, Queued::End, LAST_LINES).is_ok() {
            let _ = self.written.recv_timeout(LAST_LINES);
        }
    }
}

/// Waits for room, but no longer than so long.
fn send(lines: &SyncSender<Queued>, line: Queued, patience: Duration) -> Result<(), Queued> {
    const STEP: Duration = Duration::from_micros(200);
    let begin = Instant::now();
    let mut unsent = line;
    loop {
        match lines.try_send(unsent) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(line)) => return Err(line),
            Err(TrySendError::Full(line)) if begin.elapsed() >= patience => return Err(line),
            Err(TrySendError::Full(line)) => unsent = line,
        }
        std::thread::sleep(STEP);
    }
}

impl Lines {
    /// Starts the thread that writes to `sink`.
    pub(super) fn start(mut sink: impl std::io::Write + Send + 'static) -> std::io::Result<(Self, LastLines)> {
        const BATCH_BYTES: usize = 64 * 1024;
        let (lines, waiting) = sync_channel(MAX_WAITING_LINES);
        let (written, all_written) = sync_channel(1);
        let left_out = Arc::new(AtomicU64::new(0));
        let count = left_out.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            let mut batch = Vec::with_capacity(BATCH_BYTES);
            let mut is_over = false;
            while !is_over {
                let mut next = waiting.recv().ok();
                is_over = next.is_none();
                while let Some(queued) = next.take() {
                    match queued {
                        Queued::Line(line) => batch.extend_from_slice(&line),
                        Queued::End => is_over = true,
                    }
                    if !is_over && batch.len() < BATCH_BYTES {
                        next = waiting.try_recv().ok();
                    }
                }
                let lines = count.swap(0, Ordering::Relaxed);
                if lines > 0 {
                    let note = format!(
                        "{{\"level\":\"WARN\",\"message\":\"log lines were left out: nobody took them from stderr\",\"lines\":{lines}}}\n"
                    );
                    batch.extend_from_slice(note.as_bytes());
                }
                // Where stderr is closed there is nobody to tell.
                let _ = sink.write_all(&batch).and_then(|()| sink.flush());
                batch.clear();
                batch.shrink_to(BATCH_BYTES);
            }
            let _ = written.send(());
        })?;
        let last = LastLines {
            lines: lines.clone(),
            written: all_written,
        };
        let queue = Self {
            lines,
            left_out,
            impatient_until: Mutex::new(None),
        };
        Ok((queue, last))
    }
}

impl std::io::Write for &Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if line.len() > MAX_LINE_BYTES {
            // JSON, whatever the other lines are: this one has been longer than any should be.
            let bytes = line.len();
            let instead =
                format!("{{\"level\":\"WARN\",\"message\":\"a log line was left out: too long\",\"bytes\":{bytes}}}\n");
            self.write_all(instead.as_bytes())?;
            return Ok(bytes);
        }
        let until = *self.impatient_until.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = match until {
            Some(until) if Instant::now() < until => Duration::ZERO,
            _ => PATIENCE,
        };
        if send(&self.lines, Queued::Line(line.to_vec()), patience).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            let mut until = self.impatient_until.lock().unwrap_or_else(PoisonError::into_inner);
            *until = Some(Instant::now() + IMPATIENCE);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> &'w Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc::channel;

    use super::*;

    /// Takes each batch only once the test lets it.
    struct Slow {
        allowed: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl std::io::Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // Once the test has dropped its end, everything is allowed.
            let _ = self.allowed.recv();
            self.taken.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (Lines, LastLines, std::sync::mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (allow, allowed) = channel();
        let taken = Arc::default();
        let sink = Slow {
            allowed,
            taken: Arc::clone(&taken),
        };
        let (lines, last) = Lines::start(sink).unwrap();
        (lines, last, allow, taken)
    }

    #[test]
    fn a_log_that_nobody_takes_keeps_nobody_waiting_and_tells_later_how_much_is_missing() {
        const WRITTEN: usize = 10_000;
        let (lines, last, allow, taken) = start();
        for _ in 0..WRITTEN {
            // Comes back, though nothing was taken yet.
            (&lines).write_all(b"{\"message\":\"admission\"}\n").unwrap();
        }
        drop(allow);
        drop(last);
        let text = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        let kept = text.lines().filter(|line| line.contains("admission")).count();
        let missing: usize = text
            .lines()
            .filter_map(|line| {
                line.split_once("\"lines\":")?
                    .1
                    .trim_end_matches('}')
                    .parse::<usize>()
                    .ok()
            })
            .sum();
        assert_eq!(kept + missing, WRITTEN, "{text}");
        assert!(
            kept >= MAX_WAITING_LINES && missing > 0,
            "{kept} kept, {missing} missing"
        );
    }

    #[test]
    fn what_waits_at_the_end_is_written_in_order() {
        let (lines, last, allow, taken) = start();
        for number in 0..100 {
            (&lines).write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        drop(allow);
        drop(last);
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8(taken.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn a_line_of_a_megabyte_is_left_out_and_said() {
        let (lines, last, allow, taken) = start();
        drop(allow);
        (&lines).write_all(b"{\"a\":1}\n").unwrap();
        (&lines).write_all(&[b'x'; 1024 * 1024]).unwrap();
        drop(last);
        assert_eq!(
            String::from_utf8(taken.lock().unwrap().clone()).unwrap(),
            "{\"a\":1}\n{\"level\":\"WARN\",\"message\":\"a log line was left out: too long\",\"bytes\":1048576}\n"
        );
    }
}
