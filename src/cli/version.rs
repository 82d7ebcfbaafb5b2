//! `podkey version`: which podkey this is, and which plans it makes.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::unusable;
use crate::plan::PLAN_VERSION;
use crate::{COMMIT, VERSION};

/// The target that the program is built for, as Rust names it.
const TARGET: &str = env!("PODKEY_TARGET");

/// The command line of `podkey version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// text or json
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: VersionOutput,
}

/// The output of `podkey version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VersionOutput {
    /// For people.
    Text,
    /// An object: version, commit, planVersion, target.
    Json,
}

/// Prints version, commit, version of the plan, and target.
pub fn run(args: &VersionArgs) -> ExitCode {
    match show(args.output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unusable(error),
    }
}

fn show(output: VersionOutput) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match output {
        VersionOutput::Text => {
            writeln!(
                stdout,
                "podkey {VERSION}\ncommit: {COMMIT}\nplan version: {PLAN_VERSION}\ntarget: {TARGET}"
            )?;
        }
        VersionOutput::Json => {
            let version = json!({"version": VERSION, "commit": COMMIT, "planVersion": PLAN_VERSION, "target": TARGET});
            writeln!(stdout, "{}", serde_json::to_string_pretty(&version)?)?;
        }
    }
    Ok(())
}
