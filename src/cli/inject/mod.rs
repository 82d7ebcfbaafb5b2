//! `podkey inject`: reads a manifest, and prints the pods with the changes that the webhook would make.

pub mod offline;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use self::offline::{OfflineError, OfflinePod};
use crate::inject::Config;

/// The output of `podkey inject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// The pods as YAML documents.
    Yaml,
    /// The pods as JSON objects.
    Json,
    /// The JSON Patch of each pod.
    Patch,
}

/// Exits with 1 if the webhook would refuse a pod. The file `-` is standard input. Without `namespace`, the namespace is the
/// manifest's, or else `default`.
pub fn run(config: &Config, file: &Path, namespace: Option<&str>, output: OutputFormat) -> ExitCode {
    match decide_and_show(config, file, namespace, output) {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in problems {
                let _ = writeln!(std::io::stderr(), "{problem}");
            }
            ExitCode::FAILURE
        }
        Err(error) => super::unusable(error),
    }
}

/// Prints the pods. Returns a line for each problem for which the webhook would refuse a pod.
fn decide_and_show(
    config: &Config,
    file: &Path,
    namespace: Option<&str>,
    output: OutputFormat,
) -> anyhow::Result<Vec<String>> {
    match offline::inject(&super::read(file)?, namespace, config) {
        Ok(pods) => show(&pods, output).map(|()| Vec::new()),
        Err(OfflineError::Denied(problems)) => Ok(problems),
        Err(error) => Err(error.into()),
    }
}

fn show(pods: &[OfflinePod], output: OutputFormat) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for (index, OfflinePod { pod, patch, notes }) in pods.iter().enumerate() {
        for note in notes {
            writeln!(std::io::stderr(), "{note}")?;
        }
        match output {
            OutputFormat::Yaml => {
                let separator = if index > 0 { "---\n" } else { "" };
                write!(stdout, "{separator}{}", serde_saphyr::to_string(pod)?)?;
            }
            OutputFormat::Json => writeln!(stdout, "{}", serde_json::to_string_pretty(pod)?)?,
            OutputFormat::Patch => writeln!(stdout, "{}", serde_json::to_string_pretty(patch)?)?,
        }
    }
    Ok(())
}
