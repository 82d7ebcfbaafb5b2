//! `podkey migrate`: reads workflows, prints the replacement of their steps, and changes no file.

pub(crate) mod vault_action;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

/// `podkey migrate vault-action`: exits with 1 if a step cannot be replaced completely.
pub fn run(workflows: &[PathBuf]) -> ExitCode {
    match show(workflows) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => super::unusable(error),
    }
}

/// Returns whether every step of every workflow is replaced completely.
fn show(workflows: &[PathBuf]) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    let mut is_complete = true;
    for (index, path) in workflows.iter().enumerate() {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let migration = vault_action::migrate(&path.display().to_string(), &text)?;
        let separator = if index > 0 { "\n" } else { "" };
        write!(stdout, "{separator}{}", migration.text)?;
        is_complete &= migration.is_complete;
    }
    Ok(is_complete)
}
