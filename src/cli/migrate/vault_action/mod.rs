//! The replacement of the steps of vault-action in workflows, for a person who wants to delete the steps. Pure. No file is changed:
//! annotations belong to a scale set's pod template, and a workflow does not name the template.
//!
//! `found` finds the steps, also in composite actions; `part` says what one step adds; `block` merges the parts of one runner, as the
//! webhook takes them (`check`); `shown` prints.

mod block;
mod check;
mod conflicts;
mod entries;
mod expressions;
mod found;
mod kept_entry;
mod logins;
mod operator;
mod overridden;
mod part;
mod placed;
mod reach;
mod readers;
mod runner;
mod script;
mod server;
mod shown;
mod step_uses;
mod value;
mod workflow;
mod written_file;

use self::part::StepPart;
use crate::cli::migrate::output::Migration;

/// The file is not a workflow: its name, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} {1}")]
pub(crate) struct WorkflowError(String, String);

/// A workflow or a composite action that podkey was given.
pub(crate) struct WorkflowFile {
    /// The file's name as given.
    pub(crate) name: String,
    /// What stands in the name before the path in the repository: empty, or with a slash at its end.
    pub(crate) root: String,
    pub(crate) text: String,
}

/// What the migration reads.
pub(crate) struct Sources<'a> {
    pub(crate) files: &'a [WorkflowFile],
    /// Actions with the inputs of vault-action, such as `octo-org/vault`.
    pub(crate) actions: &'a [String],
    /// Reads another file of a repository: a composite action, a called workflow. None: there is no such file.
    pub(crate) read: &'a dyn Fn(&str) -> Option<String>,
}

/// The blocks for all runners, as one stream of YAML.
pub(crate) fn migrate(sources: &Sources<'_>) -> Result<Migration, WorkflowError> {
    let found = found::find(sources)?;
    let parts: Vec<StepPart<'_>> = found.steps.iter().map(|step| StepPart::of(step, &found)).collect();
    let mut blocks = block::blocks(&found, &parts);
    for block in &mut blocks {
        let overridden = overridden::told(block);
        block.lost.extend(overridden);
    }
    let is_complete = blocks.iter().all(|block| block.lost.is_empty()) && parts.iter().all(|part| part.lost.is_empty());
    Ok(Migration {
        text: shown::shown(&found, &blocks),
        is_complete,
    })
}
