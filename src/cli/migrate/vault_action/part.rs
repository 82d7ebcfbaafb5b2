//! What one step of vault-action adds to the block of its runner, collected by subject.

use super::found::{Found, FoundStep};
use super::kept_entry::{self, KeptEntry, file_entry, name_of, prefix_of, secret_file};
use super::logins::{Login, Server};
use super::step_uses::{StepUse, uses};
use super::value::Value;
use super::written_file::WrittenFile;
use crate::cli::migrate::output::scalar;
use crate::text::quoted;

/// One entry of an annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) list: ItemList,
    /// The entry as the annotation has it.
    pub(super) text: String,
    /// The variable that the entry makes. None: a file without a variable, or a variable for each field.
    pub(super) name: Option<String>,
    /// What the names begin with, in capitals, if the entry makes a variable for each field.
    pub(super) prefix: Option<String>,
    /// The entry of the workflow, for messages.
    pub(super) written: String,
}

/// A change of the workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) text: String,
    /// The entry of the workflow that must be in the block. Without the entry, the change would break the workflow.
    pub(super) written: String,
}

/// The annotation that an entry belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemList {
    Env,
    JobEnv,
    Files,
}

/// What one step adds.
#[derive(Debug)]
pub(super) struct StepPart<'a> {
    pub(super) found: &'a FoundStep,
    /// The step with its place.
    pub(super) title: String,
    /// The job, such as `ci.yml: job "build"`.
    pub(super) job_title: String,
    pub(super) login: Login,
    pub(super) server: Server,
    pub(super) items: Vec<Item>,
    /// Whether the step makes variables, not outputs alone.
    pub(super) exports: bool,
    /// Whether a step uses an output of this step.
    pub(super) has_uses: bool,
    /// Whether a path that does not exist is skipped.
    pub(super) skips_missing: bool,
    pub(super) changes: Vec<Change>,
    pub(super) notes: Vec<String>,
    /// What cannot be carried over, each with an alternative.
    pub(super) lost: Vec<String>,
}

impl<'a> StepPart<'a> {
    pub(super) fn of(found: &'a FoundStep, all: &Found) -> Self {
        let mut part = Self {
            found,
            title: title(found, all),
            job_title: all.jobs[found.job].title.clone(),
            login: Login::default(),
            server: Server::default(),
            items: Vec::new(),
            exports: true,
            has_uses: false,
            skips_missing: false,
            changes: Vec::new(),
            notes: Vec::new(),
            lost: Vec::new(),
        };
        part.exports = part.input("exportEnv") != Some("false");
        part.skips_missing = part.is_on("ignoreNotFound");
        part.login = part.login();
        part.server = part.server();
        let kept = part.entries();
        part.outputs(&kept, all);
        for entry in &kept {
            part.deliver(entry, all);
        }
        part.circumstances();
        part
    }

    /// The text of an input. GitHub ignores the case of an input's name.
    pub(super) fn input(&self, name: &str) -> Option<&'a str> {
        let mut inputs = self.found.inputs.iter();
        inputs
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
    fn encoding(&self) -> Option<&'a str> {
        self.input("secretEncodingType")
            .filter(|encoding| matches!(*encoding, "base64" | "hex"))
    }

    pub(super) fn lose(&mut self, what: &str, instead: &str) {
        self.lost.push(format!("{what}: {instead}"));
    }

    /// Where the workflow uses the step's outputs.
    fn outputs(&mut self, kept: &[KeptEntry], all: &Found) {
        let scope = &self.found.scopes[0];
        let Some(id) = &scope.step().id else { return };
        if !all.may_scan(scope.document.text.len()) {
            self.lose(
                &format!("steps.{id}.outputs"),
                "there is too much text to search for its uses: search yourself",
            );
            return;
        }
        let found = uses(&scope.document.text, &self.lines(), id);
        self.has_uses = !found.is_empty();
        for step_use in &found {
            self.replace(step_use, kept);
        }
    }

    /// The lines in which the step's outputs may be used.
    fn lines(&self) -> std::ops::Range<usize> {
        self.found.scopes[0].job().lines.clone()
    }

    /// One use of the step in the workflow.
    fn replace(&mut self, step_use: &StepUse<'_>, kept: &[KeptEntry]) {
        let name = &self.found.scopes[0].document.name;
        let place = format!("{name}:{}:{}: {}", step_use.line, step_use.column, step_use.text);
        let Some(output) = step_use.output else {
            self.lost.push(format!(
                "{place}: only the values of the deleted step are replaced: name each as env.NAME"
            ));
            return;
        };
        let Some((name, entry)) = kept_entry::variable(output, kept) else {
            self.lost.push(format!(
                "{place}: no entry of secrets that podkey takes makes this output"
            ));
            return;
        };
        let text = match self.encoding() {
            Some(_) => format!("{place}: read the file {} instead", secret_file(&name)),
            None => format!("{place} becomes {}", kept_entry::in_expression(&name)),
        };
        let written = entry.written.clone();
        self.changes.push(Change { text, written });
    }

    /// The entry as a variable, as a file, or as both.
    fn deliver(&mut self, kept: &KeptEntry, all: &Found) {
        let as_job = self.login.is_job() || kept.secret.secret.as_path().as_str().contains('{');
        let encoding = self.encoding();
        let bytes = self.found.scopes.iter().map(|scope| scope.document.text.len()).sum();
        let value = Value::of(self.found, kept, self.exports).filter(|_| all.may_scan(bytes));
        let written = value.as_ref().and_then(Value::written_file);
        let written = written.filter(|written| encoding.is_none() || written.decode.is_none());
        if let (Some(written), Some(entry)) = (&written, file_entry(&kept.secret)) {
            self.write_file(kept, written, &entry, encoding, as_job);
            if written.is_only_use {
                return;
            }
        } else if let Some(encoding) = encoding {
            self.decode(kept, encoding, as_job);
        }
        if encoding.is_none() {
            self.items.push(Item {
                list: if as_job { ItemList::JobEnv } else { ItemList::Env },
                text: format!("{} ;\n", kept.written),
                name: name_of(&kept.secret).map(str::to_owned),
                prefix: prefix_of(&kept.secret),
                written: kept.written.clone(),
            });
        }
    }

    /// A file in place of the commands that write it.
    fn write_file(
        &mut self,
        kept: &KeptEntry,
        written: &WrittenFile,
        entry: &str,
        encoding: Option<&str>,
        as_job: bool,
    ) {
        let decode = written.decode.or(encoding);
        let decode = decode.map_or(String::new(), |decode| format!("  decode: {decode}\n"));
        let env = written.env.as_ref();
        let env = env.map_or(String::new(), |env| format!("  env: {}\n", scalar(env)));
        let by_job = if as_job { "  as: job\n" } else { "" };
        self.items.push(Item {
            list: ItemList::Files,
            text: format!("{entry}{decode}  file: {}\n{env}{by_job}", scalar(&written.file)),
            name: written.env.clone(),
            prefix: None,
            written: kept.written.clone(),
        });
        if written.is_only_use {
            // The uses are in commands that are deleted.
            self.changes.retain(|change| change.written != kept.written);
        }
        let changes = written.changes.iter().map(|text| Change {
            text: text.clone(),
            written: kept.written.clone(),
        });
        self.changes.extend(changes);
        self.notes.extend(written.notes.iter().cloned());
        self.lost.extend(written.lost.iter().cloned());
    }

    /// A decoded value as a file, because podkey decodes files only.
    fn decode(&mut self, kept: &KeptEntry, encoding: &str, as_job: bool) {
        let what = format!("secrets: {}", quoted(&kept.written));
        let (Some(entry), Some(name)) = (file_entry(&kept.secret), name_of(&kept.secret)) else {
            self.lose(&what, "a file is decoded from one field: name the field");
            return;
        };
        let by_job = if as_job { "  as: job\n" } else { "" };
        self.items.push(Item {
            list: ItemList::Files,
            text: format!("{entry}  decode: {encoding}\n  file: {}\n{by_job}", scalar(name)),
            name: None,
            prefix: None,
            written: kept.written.clone(),
        });
        let instead = format!(
            "a variable is delivered as it is stored; a file can be decoded: read {}",
            secret_file(name)
        );
        self.lose(&format!("{what} with secretEncodingType: {encoding}"), &instead);
    }

    /// Notes about the conditions of the step and of the composite actions around the step.
    fn circumstances(&mut self) {
        for scope in &self.found.scopes {
            let step = scope.step();
            if let Some(condition) = &step.condition {
                self.notes.push(format!(
                    "{}:{}: the step had \"if: {}\": podkey always reads, before the job's first step",
                    scope.document.name,
                    step.line,
                    condition.trim()
                ));
            }
        }
    }
}

fn title(found: &FoundStep, all: &Found) -> String {
    let step = found.step();
    let step = match (&step.name, &step.id) {
        (Some(name), _) => format!("step {}", quoted(name)),
        (None, Some(id)) => format!("step {}", quoted(id)),
        (None, None) => "a step".to_owned(),
    };
    let job = &all.jobs[found.job];
    match found.scopes.len() {
        1 => {
            let job = job.title.split_once(": ").map_or(&*job.title, |(_, job)| job);
            format!("{}: {job}, {step}", found.place())
        }
        _ => format!("{}: {step}, for {}", found.place(), job.title),
    }
}
