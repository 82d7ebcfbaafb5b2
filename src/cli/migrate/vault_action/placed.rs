//! The commands of the scripts of steps, each with its place.

use std::rc::Rc;

use super::script::ShellCommand;
use super::workflow::{Texts, WorkflowStep};

/// A command of a step's script.
pub(super) struct Placed<'a> {
    pub(super) scope: usize,
    /// Such as `ci.yml:12`.
    pub(super) place: String,
    pub(super) step: &'a WorkflowStep,
    /// `env` of the workflow, of the job and of the step, the strongest last.
    pub(super) env: Rc<Vec<(String, String)>>,
    pub(super) command: ShellCommand,
}

/// Variables of a step whose values are known: of `env`, of `GITHUB_ENV`, and of the step's script, which are the strongest.
pub(super) fn assignments(commands: &[Placed<'_>], step: &WorkflowStep) -> Texts {
    let of_step = |placed: &&Placed<'_>| std::ptr::eq(placed.step, step);
    let mut known = Texts::new();
    if let Some(placed) = commands.iter().find(of_step) {
        known.extend(placed.env.iter().cloned());
    }
    let mut assign = |is_exported: bool, from: &Placed<'_>| {
        if let Some(set) = from.command.assignment().filter(|set| set.is_exported == is_exported) {
            known.insert(set.name.to_owned(), set.value.to_owned());
        }
    };
    commands.iter().for_each(|placed| assign(true, placed));
    let script = commands.iter().filter(of_step);
    script.for_each(|placed| assign(false, placed));
    known
}
