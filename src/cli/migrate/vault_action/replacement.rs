//! The replacement of one step: collected by subject, then shown.

use std::fmt;

use super::EarlierStep;
use super::kept_entry::{self, KeptEntry};
use super::step_uses::{StepUse, uses};
use super::workflow::{WorkflowJob, WorkflowStep};
use crate::cli::migrate::output::indented;
use crate::inject::keys::CONNECTION;
use crate::text::quoted;

/// The replacement of one step of vault-action.
pub(super) struct Replacement<'a> {
    file: &'a str,
    pub(super) text: &'a str,
    pub(super) job: &'a WorkflowJob,
    pub(super) step: &'a WorkflowStep,
    /// Keys and values, in the order shown.
    pub(super) annotations: Vec<(&'static str, String)>,
    /// Changes of the workflow.
    pub(super) changes: Vec<String>,
    /// Needs of the operator's config.
    pub(super) operator: Vec<String>,
    pub(super) notes: Vec<String>,
    /// Features that cannot be carried over, each with an alternative.
    pub(super) lost: Vec<String>,
    /// The steps before this step.
    pub(super) earlier: &'a [EarlierStep<'a>],
}

impl<'a> Replacement<'a> {
    pub(super) fn new(
        file: &'a str,
        text: &'a str,
        job: &'a WorkflowJob,
        step: &'a WorkflowStep,
        earlier: &'a [EarlierStep<'a>],
    ) -> Self {
        Self {
            file,
            text,
            job,
            step,
            annotations: Vec::new(),
            changes: Vec::new(),
            operator: Vec::new(),
            notes: Vec::new(),
            lost: Vec::new(),
            earlier,
        }
    }

    /// Returns the entries that podkey takes.
    pub(super) fn fill(&mut self) -> Vec<KeptEntry> {
        let login = self.login();
        self.connection();
        let kept = self.entries();
        let uses = match &self.step.id {
            Some(id) => uses(self.text, &self.job.lines, id),
            None => Vec::new(),
        };
        for step_use in &uses {
            self.replace(step_use, &kept);
        }
        self.deliver(&kept, login, !uses.is_empty());
        self.decoded_later(&kept);
        self.circumstances();
        kept
    }

    /// The text of an input. GitHub ignores the case of an input's name.
    pub(super) fn input(&self, name: &str) -> Option<&'a str> {
        self.step
            .inputs
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Whether a switch is on, by vault-action's rule for most of its switches.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.input(name)
            .is_some_and(|value| !value.eq_ignore_ascii_case("false"))
    }

    /// The encoding that every value is decoded from. vault-action ignores other words, and utf8 changes nothing.
    pub(super) fn encoding(&self) -> Option<&'a str> {
        self.input("secretEncodingType")
            .filter(|encoding| matches!(*encoding, "base64" | "hex"))
    }

    pub(super) fn lose(&mut self, what: &str, instead: &str) {
        self.lost.push(format!("{what}: {instead}"));
    }

    /// One use of the step in the workflow.
    fn replace(&mut self, step_use: &StepUse<'_>, kept: &[KeptEntry]) {
        let place = format!("{}:{}:{}: {}", self.file, step_use.line, step_use.column, step_use.text);
        let Some(output) = step_use.output else {
            self.lost.push(format!(
                "{place}: only the values of the deleted step are replaced: name each as env.NAME"
            ));
            return;
        };
        match kept_entry::variable(output, kept) {
            Some(name) if self.encoding().is_some() => {
                let path = kept_entry::secret_file(&name);
                self.changes.push(format!("{place}: read the file {path} instead"));
            }
            Some(name) => self
                .changes
                .push(format!("{place} becomes {}", kept_entry::in_expression(&name))),
            None => self.lost.push(format!(
                "{place}: no entry of secrets that podkey takes makes this output"
            )),
        }
    }

    fn title(&self) -> String {
        let step = match (&self.step.name, &self.step.id) {
            (Some(name), _) => format!("step {}", quoted(name)),
            (None, Some(id)) => format!("step {}", quoted(id)),
            (None, None) => "a step".to_owned(),
        };
        let job = match &self.job.id {
            Some(id) => format!("job {}", quoted(id)),
            None => "composite action".to_owned(),
        };
        format!("{}:{}: {job}, {step} of vault-action", self.file, self.step.line)
    }
}

impl fmt::Display for Replacement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title())?;
        let annotations = self.annotations.iter().map(|(key, value)| format!("{key}: {value}"));
        let operator = format!("The operator's connection (connections.default, if {CONNECTION} names no other):");
        for (title, lines) in [
            (
                "Delete the step, and annotate the scale set's pod template:",
                &annotations.collect(),
            ),
            ("Change in the workflow:", &self.changes),
            (&operator, &self.operator),
            ("Notes:", &self.notes),
            ("Cannot be carried over:", &self.lost),
        ] {
            if !lines.is_empty() {
                writeln!(f, "  {title}")?;
                for line in lines {
                    writeln!(f, "{}", indented(line, 4))?;
                }
            }
        }
        Ok(())
    }
}
