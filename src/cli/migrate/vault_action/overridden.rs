//! Jobs whose own `env` has the name of a variable of the block: podkey writes the variable into `GITHUB_ENV`, which is stronger than
//! the `env` of a workflow and of a job, and weaker than the `env` of a step.

use super::block::Block;
use super::found::RunningJob;
use super::part::{Item, ItemList, StepPart};
use super::workflow::Texts;
use super::written_file::normal;

/// A line for each job that would lose a value of its own.
pub(super) fn told(block: &Block<'_>) -> Vec<String> {
    let lines = block.jobs.iter().filter_map(|job| {
        let items = block.items.iter().map(|(_, item)| item);
        let names: Vec<&str> = items.filter_map(|item| overridden(block, job, item)).collect();
        (!names.is_empty()).then(|| {
            format!(
                "{}: the env of the job or of the workflow sets {}, and podkey's value is stronger: give one of the two another name, or give \
                the job a scale set of its own",
                job.title,
                names.join(", ")
            )
        })
    });
    lines.collect()
}

/// The name of the entry, if the job has another value of that name, and had it beside vault-action.
fn overridden<'i>(block: &Block<'_>, job: &RunningJob, item: &'i Item) -> Option<&'i str> {
    let name = item.name.as_deref()?;
    let own = job.env.get(name)?;
    let file = item.text.lines().find_map(|line| line.trim().strip_prefix("file: "));
    let is_same_path = item.list == ItemList::Files && file == Some(normal(own, &Texts::new()).as_str());
    let mut parts = block.parts.iter().filter(|part| part.job_title == job.title);
    (!is_same_path && !parts.any(|part| did_override(part, item))).then_some(name)
}

/// Whether the step's variable was stronger already, or the change of its job's `env` is told.
fn did_override(part: &StepPart<'_>, item: &Item) -> bool {
    let mut own = part.items.iter();
    own.any(|own| own.list == item.list && own.text == item.text && (part.exports || own.list == ItemList::Files))
}
