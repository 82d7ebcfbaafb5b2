//! Logs: one JSON object a line on stderr, or text for people. Our own level comes from `PODKEY_LOG`; libraries are held
//! at `warn`, because at lower levels some of them print what they send.

#[cfg(feature = "webhook")]
mod lines;

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[cfg(feature = "webhook")]
pub use lines::LastLines;
#[cfg(feature = "webhook")]
use lines::Lines;

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

/// The same for a program that writes a line for each request: see `Lines`. What is still waiting is written when the
/// returned value is dropped.
///
/// # Errors
///
/// The thread that writes cannot be started.
#[cfg(feature = "webhook")]
pub fn init_batched(format: LogFormat, level: Option<&str>) -> std::io::Result<LastLines> {
    let (lines, last) = Lines::start(std::io::stderr())?;
    init_with(format, level, lines);
    Ok(last)
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
