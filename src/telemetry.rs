//! Logs: one JSON object a line on stderr, or text for people. Our own level comes from `PODKEY_LOG`; libraries are held
//! at `warn`, because at lower levels some of them print what they send.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("is neither json nor text"),
        }
    }
}

/// The environment variable with the level: `off`, `error`, `warn`, `info` (default), `debug`, `trace`.
pub const LOG_ENV: &str = "PODKEY_LOG";

/// Starts logging to stderr, each line as it comes. `level` is the text of [`LOG_ENV`]; one that names no level counts as
/// `info` and is said.
pub fn init(format: LogFormat, level: Option<&str>) {
    init_with(format, level, std::io::stderr);
}

/// Lines that wait for stderr.
#[cfg(feature = "webhook")]
const MAX_WAITING_LINES: usize = 128;
/// The longest line. With the number of lines that wait it bounds what the log holds, whatever is logged.
#[cfg(feature = "webhook")]
const MAX_LINE_BYTES: usize = 32 * 1024;

/// Leaves out lines that are longer than [`MAX_LINE_BYTES`], and writes so.
#[cfg(feature = "webhook")]
struct Bounded<W>(W);

#[cfg(feature = "webhook")]
impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Bounded<W> {
    type Writer = Bounded<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Bounded(self.0.make_writer())
    }
}

#[cfg(feature = "webhook")]
impl<W: std::io::Write> std::io::Write for Bounded<W> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if line.len() <= MAX_LINE_BYTES {
            return self.0.write(line);
        }
        // JSON, whatever the other lines are: this one has been longer than any should be.
        let bytes = line.len();
        let instead =
            format!("{{\"level\":\"WARN\",\"message\":\"a log line was left out: too long\",\"bytes\":{bytes}}}\n");
        self.0.write_all(instead.as_bytes())?;
        Ok(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// The same for a program that writes a line for each request: a thread of its own writes all lines that have come together
/// in one go, since writing each costs more than the request. What is still waiting is written when the guard is dropped.
#[cfg(feature = "webhook")]
pub fn init_batched(format: LogFormat, level: Option<&str>) -> tracing_appender::non_blocking::WorkerGuard {
    // Bounded, and nothing is lost: who logs faster than stderr takes it waits.
    let batches = std::io::BufWriter::with_capacity(64 * 1024, std::io::stderr());
    let builder = tracing_appender::non_blocking::NonBlockingBuilder::default();
    let (writer, guard) = builder
        .lossy(false)
        .buffered_lines_limit(MAX_WAITING_LINES)
        .finish(batches);
    init_with(format, level, Bounded(writer));
    guard
}

/// For a program whose reader stamps the lines with the time himself: level, text and fields alone, to this writer.
pub fn init_plain<W>(level: Option<&str>, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (targets, unknown) = targets(level);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    let registry = tracing_subscriber::registry().with(targets);
    let _ = registry.with(layer.with_ansi(false).without_time()).try_init();
    say_unknown(unknown);
}

fn targets(level: Option<&str>) -> (Targets, Option<&str>) {
    let (filter, unknown) = match level.map(LevelFilter::from_str) {
        None => (LevelFilter::INFO, None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(_)) => (LevelFilter::INFO, level),
    };
    let targets = Targets::new()
        .with_default(LevelFilter::WARN.min(filter))
        .with_target("podkey", filter);
    (targets, unknown)
}

fn say_unknown(unknown: Option<&str>) {
    if let Some(unknown) = unknown {
        tracing::warn!(
            value = unknown,
            "{LOG_ENV} names no level (off, error, warn, info, debug, trace): using info"
        );
    }
}

fn init_with<W>(format: LogFormat, level: Option<&str>, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (targets, unknown) = targets(level);
    let registry = tracing_subscriber::registry().with(targets);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    // A second call (tests in one process) leaves the first one's choice.
    let _ = match format {
        LogFormat::Json => registry
            .with(
                layer
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false),
            )
            .try_init(),
        LogFormat::Text => registry.with(layer.with_ansi(false)).try_init(),
    };
    say_unknown(unknown);
}

#[cfg(all(test, feature = "webhook"))]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_line_of_a_megabyte_is_left_out_and_said() {
        let mut writer = Bounded(Vec::new());
        writer.write_all(b"{\"a\":1}\n").unwrap();
        writer.write_all(&[b'x'; 1024 * 1024]).unwrap();
        assert_eq!(
            String::from_utf8(writer.0).unwrap(),
            "{\"a\":1}\n{\"level\":\"WARN\",\"message\":\"a log line was left out: too long\",\"bytes\":1048576}\n"
        );
    }
}
