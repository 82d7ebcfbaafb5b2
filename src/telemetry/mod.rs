//! Logs: one JSON object in each line on stderr, or text for people. podkey's own level comes from `PODKEY_LOG`. Libraries log only
//! `warn` and above, because at lower levels some libraries print the requests that they send; the libraries of `SILENT` log nothing.

#[cfg(feature = "webhook")]
mod queue;
mod throttle;

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[cfg(feature = "webhook")]
pub use queue::LastLines;
#[cfg(feature = "webhook")]
use queue::LogQueue;
pub(crate) use throttle::LogThrottle;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object in each line.
    #[default]
    Json,
    /// Text for people.
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

/// Starts logging to stderr, each line at once. `level` is the text of [`LOG_ENV`]. A text that is not a level means `info`, and a
/// log line reports the text.
pub fn init(format: LogFormat, level: Option<&str>) {
    init_with(format, level, std::io::stderr);
}

/// Starts logging to stderr through a queue, for a program that writes a line for each request. Dropping the returned value
/// writes the lines that wait.
///
/// # Errors
///
/// The system cannot start the thread that writes.
#[cfg(feature = "webhook")]
pub fn init_batched(format: LogFormat, level: Option<&str>) -> std::io::Result<LastLines> {
    let (lines, last) = LogQueue::start(std::io::stderr())?;
    init_with(format, level, lines);
    Ok(last)
}

/// Starts logging to `writer` without times, for a reader that adds the time to each line.
pub fn init_plain<W>(level: Option<&str>, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (targets, unknown) = targets(level);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    let registry = tracing_subscriber::registry().with(targets);
    let _ = registry.with(layer.with_ansi(false).without_time()).try_init();
    warn_of_unknown(unknown);
}

/// The beginnings of the log targets of kube and of the libraries below kube (`kube_client`, `hyper_util`, `tower_http`, …). At
/// `warn`, kube logs an answer that it cannot parse; the answer may be a Secret with a private key. `rustify` and `vaultrs` log
/// each failure of a request, which is a finding of `podkey doctor` already.
const SILENT: [&str; 6] = ["kube", "hyper", "tower", "reqwest", "rustify", "vaultrs"];

/// The filter; and `level`, if the text is not a level.
pub(crate) fn targets(level: Option<&str>) -> (Targets, Option<&str>) {
    let (filter, unknown) = match level.map(LevelFilter::from_str) {
        None => (LevelFilter::INFO, None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(_)) => (LevelFilter::INFO, level),
    };
    let targets = Targets::new()
        .with_default(LevelFilter::WARN.min(filter))
        .with_targets(SILENT.map(|target| (target, LevelFilter::OFF)))
        .with_target("podkey", filter);
    (targets, unknown)
}

fn warn_of_unknown(unknown: Option<&str>) {
    if let Some(unknown) = unknown {
        tracing::warn!(
            value = unknown,
            "{LOG_ENV} is not a level (off, error, warn, info, debug, trace): podkey logs at info"
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
    // A second call, as in tests in one process, changes nothing.
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
    warn_of_unknown(unknown);
}
