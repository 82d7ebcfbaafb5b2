//! `podkey migrate`: reads workflows or manifests, prints what replaces their secrets, and changes no file.

pub(crate) mod output;
pub(crate) mod vault_action;
pub(crate) mod vault_k8s;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// What is migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrateFrom {
    /// The steps of hashicorp/vault-action in workflows.
    VaultAction,
    /// The annotations of vault-k8s in manifests.
    VaultK8s,
}

/// Prints the replacement for each file. The file `-` is standard input. Exits with 1 if something cannot be replaced completely.
pub fn run(from: MigrateFrom, files: &[PathBuf]) -> ExitCode {
    match show(from, files) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => super::unusable(error),
    }
}

/// Returns whether everything in every file is replaced completely.
fn show(from: MigrateFrom, files: &[PathBuf]) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    let mut is_complete = true;
    for (index, path) in files.iter().enumerate() {
        let text = super::read(path)?;
        let name = path.display().to_string();
        let (migration, separator) = match from {
            MigrateFrom::VaultAction => (vault_action::migrate(&name, &text)?, "\n"),
            MigrateFrom::VaultK8s => (vault_k8s::migrate(&name, &text)?, "---\n"),
        };
        let separator = if index > 0 { separator } else { "" };
        write!(stdout, "{separator}{}", migration.text)?;
        is_complete &= migration.is_complete;
    }
    Ok(is_complete)
}
