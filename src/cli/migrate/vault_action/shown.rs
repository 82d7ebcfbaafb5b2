//! The result as YAML: a document for each runner, with all else in comments. Text of a workflow never leaves its comment.

use super::block::Block;
use super::found::Found;
use super::part::StepPart;
use super::reach;
use crate::cli::migrate::output::{comment, exact, scalar};
use crate::inject::keys::CONNECTION;

/// The whole output.
pub(super) fn shown(found: &Found, blocks: &[Block<'_>]) -> String {
    let mut documents: Vec<String> = blocks.iter().map(|block| document(block, blocks)).collect();
    let mut about: Vec<String> = found
        .without
        .iter()
        .map(|name| format!("{name}: no step of vault-action"))
        .collect();
    about.extend(found.notes.iter().cloned());
    if !about.is_empty() {
        documents.push(about.iter().map(|line| comment(line)).collect());
    }
    documents.join("---\n")
}

fn document(block: &Block<'_>, all: &[Block<'_>]) -> String {
    let mut text = comment(&format!("The runner {}", block.runner.label));
    if block.annotations.is_empty() {
        text.push_str(&comment("There is nothing for its pods."));
    } else {
        text.push_str(&comment("Values of its scale set (ARC's chart gha-runner-scale-set):"));
        text.push_str("template:\n  metadata:\n    annotations:\n");
        for (key, value) in &block.annotations {
            let value = if value.contains('\n') {
                exact(value, 8)
            } else {
                scalar(value)
            };
            text.push_str(&format!("      {key}: {value}\n"));
        }
    }
    let (changes, unchanged) = changes(block, all);
    let operator: Vec<String> = block.operator.fields();
    let remarks = block.operator.remarks();
    let mut notes = placed(block.parts.iter().map(|part| (part.found.place(), &*part.notes)));
    notes.extend(block.notes.iter().cloned());
    let mut lost = placed(block.parts.iter().map(|part| (part.found.place(), &*part.lost)));
    lost.extend(block.lost.iter().cloned());
    lost.extend(unchanged);
    let connection = format!("The operator's connection (connections.default, if {CONNECTION} names no other):");
    for (title, lines) in [
        ("Change in the workflow:", changes),
        (connection.as_str(), operator),
        ("About the connection:", remarks),
        ("The role in Vault:", block.role.clone()),
        ("Reaches more steps than before:", reach::told(block)),
        ("Notes:", notes),
        ("Cannot be carried over:", lost),
    ] {
        section(&mut text, title, lines);
    }
    text
}

/// The changes of the workflow, and the uses of entries that are not in the block.
fn changes(block: &Block<'_>, all: &[Block<'_>]) -> (Vec<String>, Vec<String>) {
    let mut changes = Vec::new();
    let mut unchanged = Vec::new();
    for part in &block.parts {
        changes.push(for_step(block, part, all));
        for change in &part.changes {
            match block.has(part, &change.written) {
                true => changes.push(change.text.clone()),
                false => unchanged.push(format!(
                    "not done, because the entry is not in the block: {}",
                    change.text
                )),
            }
        }
    }
    (changes, unchanged)
}

/// Whether the block takes the place of the whole step.
fn is_whole(block: &Block<'_>, part: &StepPart<'_>) -> bool {
    part.items.iter().all(|item| block.has(part, &item.written)) && part.lost.is_empty()
}

/// The line about the step itself: a step can run on several runners, and some may still need the step.
fn for_step(block: &Block<'_>, part: &StepPart<'_>, all: &[Block<'_>]) -> String {
    let title = &part.title;
    if block.runner.is_hosted {
        return format!(
            "{title}: keep the step while its jobs run on GitHub's own machine; the lines below are for a scale set of yours"
        );
    }
    let of_step = |other: &StepPart<'_>| other.found.place() == part.found.place();
    let others = all.iter().filter(|other| other.parts.iter().any(|part| of_step(part)));
    let needs = |other: &&Block<'_>| {
        let mut parts = other.parts.iter().filter(|part| of_step(part));
        other.runner.is_hosted || (!other.runner.is(&block.runner) && !parts.all(|part| is_whole(other, part)))
    };
    let needing: Vec<&Block<'_>> = others.filter(needs).collect();
    let labels: Vec<&str> = needing.iter().map(|other| other.runner.label.as_str()).collect();
    let first_see = match is_whole(block, part) {
        true => "",
        false => "; first see what cannot be carried over",
    };
    if needing.is_empty() {
        return format!("{title}: delete the step{first_see}");
    }
    let condition = match needing.iter().all(|other| other.runner.is_hosted) {
        true => "\"if: runner.environment == 'github-hosted'\"",
        false => "an \"if:\" that is true only there",
    };
    let exports = match part.exports {
        true => "",
        false => ", without exportEnv: false",
    };
    format!(
        "{title}: keep the step for {}, where it is still needed: give it {condition}{exports}; commands that are deleted below go into a step \
        with the same \"if:\"{first_see}",
        labels.join(", ")
    )
}

/// The lines below their title, each once.
fn section(text: &mut String, title: &str, lines: Vec<String>) {
    let mut told: Vec<String> = Vec::new();
    for line in lines {
        if !told.contains(&line) {
            told.push(line);
        }
    }
    if !told.is_empty() {
        text.push_str(&comment(title));
    }
    for line in told {
        text.push_str(&comment(&format!("  {line}")));
    }
}

/// The lines with the places of their steps in front, unless a line begins with its place. Equal lines of several steps are one.
fn placed<'p>(of_steps: impl Iterator<Item = (String, &'p [String])>) -> Vec<String> {
    let mut lines: Vec<(Vec<String>, &str)> = Vec::new();
    for (place, line) in of_steps.flat_map(|(place, lines)| lines.iter().map(move |line| (place.clone(), line))) {
        let file = place.rsplit_once(':').map_or(&*place, |(file, _)| file);
        let has_place = line.starts_with(&format!("{file}:"));
        let places = if has_place { Vec::new() } else { vec![place] };
        match lines.iter_mut().find(|(_, other)| *other == line) {
            Some((known, _)) => known.extend(places),
            None => lines.push((places, line)),
        }
    }
    let with_places = lines.into_iter().map(|(mut places, line)| {
        places.dedup();
        match places.is_empty() {
            true => line.to_owned(),
            false => format!("{}: {line}", places.join(", ")),
        }
    });
    with_places.collect()
}
