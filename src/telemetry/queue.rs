//! The log of a program that writes a line for each request. The log writes batches, has a bounded size, and delays answers only
//! for a short time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// The most lines that wait for stderr.
const MAX_WAITING_LINES: usize = 128;
/// The longest line. Together with [`MAX_WAITING_LINES`] this is the limit of the log's memory.
const MAX_LINE_BYTES: usize = 32 * 1024;
/// After the first line of a batch, the log's thread waits this long for more lines: waking the thread for each line costs more CPU
/// than the line. The queue has room for the lines of this time.
const BATCH_TIME: Duration = Duration::from_millis(4);
/// How long a thread waits for room in the queue: the reader of stderr may be slow for a moment.
const QUEUE_TIMEOUT: Duration = Duration::from_millis(200);
/// For this time after a line was dropped, no thread waits for room.
const NO_WAIT_AFTER_DROP: Duration = Duration::from_secs(1);
/// How long the program's end waits for the last lines.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// The queue of lines for stderr. A separate thread writes all waiting lines with one system call, because a call for each line
/// costs more than a request. If nobody reads stderr, lines are dropped so that answers are not delayed, and the number of dropped
/// lines is logged later.
pub(super) struct LogQueue {
    lines: SyncSender<Queued>,
    dropped: Arc<AtomicU64>,
    no_wait_until: Mutex<Option<Instant>>,
}

enum Queued {
    Line(Vec<u8>),
    End,
}

/// Dropping this value writes the lines that wait.
pub struct LastLines {
    lines: SyncSender<Queued>,
    written: Receiver<()>,
}

impl Drop for LastLines {
    fn drop(&mut self) {
        if send(&self.lines, Queued::End, LAST_LINES_TIMEOUT).is_ok() {
            let _ = self.written.recv_timeout(LAST_LINES_TIMEOUT);
        }
    }
}

/// Puts a line into the queue, and waits for room at most for `limit`. The error is the line.
fn send(lines: &SyncSender<Queued>, line: Queued, limit: Duration) -> Result<(), Queued> {
    const STEP: Duration = Duration::from_micros(200);
    let begin = Instant::now();
    let mut unsent = line;
    loop {
        match lines.try_send(unsent) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(line)) => return Err(line),
            Err(TrySendError::Full(line)) if begin.elapsed() >= limit => return Err(line),
            Err(TrySendError::Full(line)) => unsent = line,
        }
        std::thread::sleep(STEP);
    }
}

impl LogQueue {
    /// Starts the thread that writes to `sink`.
    pub(super) fn start(mut sink: impl std::io::Write + Send + 'static) -> std::io::Result<(Self, LastLines)> {
        const BATCH_BYTES: usize = 64 * 1024;
        let (lines, waiting) = sync_channel(MAX_WAITING_LINES);
        let (written, all_written) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = dropped.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            let mut batch = Vec::with_capacity(BATCH_BYTES);
            let mut is_over = false;
            while !is_over {
                let mut next = waiting.recv().ok();
                is_over = next.is_none();
                if matches!(next, Some(Queued::Line(_))) {
                    std::thread::sleep(BATCH_TIME);
                }
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
                        "{{\"level\":\"WARN\",\"message\":\"podkey dropped log lines because nobody read stderr\",\"lines\":{lines}}}\n"
                    );
                    batch.extend_from_slice(note.as_bytes());
                }
                // If stderr is closed, nobody can read an error.
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
            dropped,
            no_wait_until: Mutex::new(None),
        };
        Ok((queue, last))
    }
}

impl std::io::Write for &LogQueue {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if line.len() > MAX_LINE_BYTES {
            // JSON even if the log is text: no line should be that long.
            let bytes = line.len();
            let instead = format!(
                "{{\"level\":\"WARN\",\"message\":\"podkey dropped a log line because it was too long\",\"bytes\":{bytes}}}\n"
            );
            self.write_all(instead.as_bytes())?;
            return Ok(bytes);
        }
        let until = *self.no_wait_until.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = match until {
            Some(until) if Instant::now() < until => Duration::ZERO,
            _ => QUEUE_TIMEOUT,
        };
        if send(&self.lines, Queued::Line(line.to_vec()), limit).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            let mut until = self.no_wait_until.lock().unwrap_or_else(PoisonError::into_inner);
            *until = Some(Instant::now() + NO_WAIT_AFTER_DROP);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for LogQueue {
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

    /// A writer that takes a batch only when the test allows it.
    struct SlowSink {
        allowed: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl std::io::Write for SlowSink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // Once the test has dropped its sender, every batch is allowed.
            let _ = self.allowed.recv();
            self.taken.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (LogQueue, LastLines, std::sync::mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (allow, allowed) = channel();
        let taken = Arc::default();
        let sink = SlowSink {
            allowed,
            taken: Arc::clone(&taken),
        };
        let (lines, last) = LogQueue::start(sink).unwrap();
        (lines, last, allow, taken)
    }

    #[test]
    fn a_log_that_nobody_reads_delays_nothing_and_later_reports_the_number_of_dropped_lines() {
        const WRITTEN: usize = 10_000;
        let (lines, last, allow, taken) = start();
        for _ in 0..WRITTEN {
            // Returns although the sink has not taken a batch yet.
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
    fn lines_that_wait_at_the_end_are_written_in_order() {
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
    fn a_line_of_a_megabyte_is_dropped_and_reported() {
        let (lines, last, allow, taken) = start();
        drop(allow);
        (&lines).write_all(b"{\"a\":1}\n").unwrap();
        (&lines).write_all(&[b'x'; 1024 * 1024]).unwrap();
        drop(last);
        assert_eq!(
            String::from_utf8(taken.lock().unwrap().clone()).unwrap(),
            "{\"a\":1}\n{\"level\":\"WARN\",\"message\":\"podkey dropped a log line because it was too long\",\"bytes\":1048576}\n"
        );
    }
}
