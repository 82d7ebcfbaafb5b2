//! The replacement of the steps of vault-action in a workflow, for a person who wants to delete the steps. Pure. No file is changed:
//! annotations belong to a scale set's pod template, and a workflow does not name the template.
//!
//! For each step: the annotations; every `steps.ID.outputs.NAME`, with the `env.NAME` that replaces it; the needs of the operator's
//! config; and the features that cannot be carried over, each with an alternative.

mod delivery;
mod entries;
mod expressions;
mod kept_entry;
mod replacement;
mod server;
mod step_uses;
mod workflow;

use std::fmt::Write as _;

use self::kept_entry::KeptEntry;
use self::replacement::Replacement;
use self::workflow::WorkflowJob;
use crate::cli::migrate::output::Migration;

/// The file is not a workflow: its name, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} {1}")]
pub(crate) struct WorkflowError(String, String);

/// A step of the file that was migrated before.
struct EarlierStep<'a> {
    job: &'a WorkflowJob,
    line: usize,
    kept: Vec<KeptEntry>,
}

/// Reads a workflow or a composite action. Each line of the result about a place in the file begins with
/// `name`.
pub(crate) fn migrate(name: &str, text: &str) -> Result<Migration, WorkflowError> {
    let jobs = workflow::read(text).map_err(|why| WorkflowError(name.to_owned(), why))?;
    let mut migration = Migration {
        text: String::new(),
        is_complete: true,
    };
    let mut earlier: Vec<EarlierStep<'_>> = Vec::new();
    for job in &jobs {
        for step in job.steps.iter().filter(|step| step.is_vault_action()) {
            let mut replacement = Replacement::new(name, text, job, step, &earlier);
            let kept = replacement.fill();
            migration.is_complete &= replacement.lost.is_empty();
            if !migration.text.is_empty() {
                migration.text.push('\n');
            }
            migration.text.push_str(&replacement.to_string());
            let line = step.line;
            earlier.push(EarlierStep { job, line, kept });
        }
    }
    if earlier.len() > 1 {
        let _ = writeln!(
            migration.text,
            "\n{name}: these are {} steps, and a pod template has each annotation once: put the entries of one key together, equal \
            entries once. All other annotations apply to all entries; where they differ, use one scale set for each job",
            earlier.len()
        );
    }
    if migration.text.is_empty() {
        migration.text = format!("{name}: no step of vault-action\n");
    }
    Ok(migration)
}
