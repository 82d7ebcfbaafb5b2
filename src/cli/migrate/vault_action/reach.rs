//! Which steps get a secret now, and did not get it from vault-action: a pod's variables reach every step of every job on the runner.

use super::block::Block;
use super::kept_entry;
use super::part::{Item, ItemList, StepPart};
use crate::inject::keys::{EXPORT, JOB_POLICY};

/// What reaches more steps than before, for each step of vault-action, and the jobs that had no secret before.
pub(super) fn told(block: &Block<'_>) -> Vec<String> {
    if block.items.is_empty() {
        return Vec::new();
    }
    let stays_in_files = block.annotations.iter().any(|(key, _)| *key == EXPORT);
    let delivered = match stays_in_files {
        true => format!(
            "every step can read every value above, in a file at {}",
            kept_entry::secret_file("env/NAME")
        ),
        false => {
            "every step of every job on this runner gets every variable and every file above, the first step already"
                .to_owned()
        }
    };
    let mut lines = vec![delivered];
    for (number, part) in block.parts.iter().enumerate() {
        let names: Vec<String> = block
            .items
            .iter()
            .filter(|(of, item)| holds(*of, item, number, part))
            .map(|(_, item)| name(item))
            .collect();
        if !names.is_empty() {
            lines.push(format!("{}: before, {}", names.join(", "), before(part)));
        }
    }
    let without: Vec<&str> = block
        .jobs
        .iter()
        .filter(|job| !block.parts.iter().any(|part| part.job_title == job.title))
        .map(|job| job.title.as_str())
        .collect();
    if !without.is_empty() {
        lines.push(format!("before, these jobs had none of them: {}", without.join(", ")));
    }
    lines.push(format!(
        "so does each job of a workflow that podkey was not given: {JOB_POLICY} says which repositories and events get secrets; for \
        narrower limits, use a scale set of its own"
    ));
    lines
}

/// Whether the block has an entry because of this step: its own, or an equal one of a step before.
fn holds(of: usize, item: &Item, number: usize, part: &StepPart<'_>) -> bool {
    of == number
        || part
            .items
            .iter()
            .any(|own| own.list == item.list && own.text == item.text)
}

fn name(item: &Item) -> String {
    match (&item.name, item.list) {
        (Some(name), _) => name.clone(),
        (None, ItemList::Files) => {
            let file = item.text.lines().find_map(|line| line.trim().strip_prefix("file: "));
            format!("the file {}", file.unwrap_or_default())
        }
        (None, _) => format!("the variables of {}", crate::text::quoted(&item.written)),
    }
}

/// Which steps had the secret.
fn before(part: &StepPart<'_>) -> String {
    let place = part.found.place();
    let job = &part.job_title;
    let before = match (part.exports, part.has_uses) {
        (true, _) => format!("the steps behind {place} in {job}"),
        (false, true) => format!("the steps that name the outputs of {place} in {job}"),
        (false, false) => format!("no step: exportEnv is false, and nothing names the outputs of {place} in {job}"),
    };
    let scopes = part.found.scopes.iter();
    let conditions: Vec<&str> = scopes.filter_map(|scope| scope.step().condition.as_deref()).collect();
    match conditions.is_empty() {
        true => before,
        false => format!("{before}, if: {}", conditions.join(", and if: ").replace('\n', " ")),
    }
}
