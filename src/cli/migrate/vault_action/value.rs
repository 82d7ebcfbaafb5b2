//! A value that vault-action delivers, and where the steps use the value: in scripts, inputs and variables.

use std::rc::Rc;

use super::expressions::{expression, inside};
use super::found::{FoundStep, Scope, handed_on};
use super::kept_entry::{KeptEntry, name_of};
use super::placed::{Placed, assignments};
use super::readers;
use super::script::{self, Assignment, FileWrite, variable};
use super::step_uses::uses;
use super::workflow::{Texts, WorkflowStep};
use super::written_file::{OF_HOME, WrittenFile, normal};
use crate::text::{is_variable_name, quoted};

/// The action that makes a kubeconfig of its input `kubeconfig`, and sets KUBECONFIG.
const SET_CONTEXT: &str = "azure/k8s-set-context";

/// A value that vault-action delivers, with its names.
pub(super) struct Value<'a> {
    found: &'a FoundStep,
    name: &'a str,
    /// Whether each step behind has the value as a variable.
    is_exported: bool,
    /// The number of the scope, the id of the step there, and its output.
    outputs: Vec<(usize, &'a str, &'a str)>,
}

impl<'a> Value<'a> {
    /// None: the entry makes a variable for each field.
    pub(super) fn of(found: &'a FoundStep, kept: &'a KeptEntry, is_exported: bool) -> Option<Self> {
        let name = name_of(&kept.secret)?;
        let mut outputs = Vec::new();
        let mut output = kept.output.as_str();
        for (number, scope) in found.scopes.iter().enumerate() {
            let Some(id) = &scope.step().id else { break };
            outputs.push((number, id.as_str(), output));
            let handed_on = handed_on(scope, id);
            let Some((outer, _)) = handed_on.iter().find(|(_, inner)| inner.eq_ignore_ascii_case(output)) else {
                break;
            };
            output = outer;
        }
        Some(Self {
            found,
            name,
            is_exported,
            outputs,
        })
    }

    /// The file that a step writes from the value.
    pub(super) fn written_file(&self) -> Option<WrittenFile> {
        let commands = self.commands();
        let mut writes = commands.iter().filter_map(|placed| {
            let write = placed.command.write()?;
            self.is_value(placed.scope, &write.value, placed.step)
                .then_some((placed, write))
        });
        let Some((placed, write)) = writes.next() else {
            return self.of_set_context(&commands);
        };
        let path_of =
            |placed: &Placed<'_>, write: &FileWrite| normal(&write.path, &assignments(&commands, placed.step));
        let path = path_of(placed, &write);
        let same = writes.filter(|(placed, other)| other.decode == write.decode && path_of(placed, other) == path);
        let deleted: Vec<&Placed<'_>> = std::iter::once(placed).chain(same.map(|(placed, _)| placed)).collect();
        let mut file = WrittenFile {
            decode: write.decode,
            ..WrittenFile::default()
        };
        file.place(&path, self.name);
        let seen_at = file.seen_at();
        file.changes.extend(deleted.iter().map(|placed| {
            let colon = if is_alone_in_block(&commands, placed) {
                "; write \":\" in its place, because a shell takes no empty block"
            } else {
                ""
            };
            let (place, command) = (&placed.place, quoted(&placed.command.text));
            format!("{place}: delete {command}: podkey writes {seen_at}{colon}")
        }));
        self.variable_of(&path, &commands, &mut file);
        file.other_commands(&path, &commands, &deleted);
        file.about(&path, &placed.place);
        self.other_uses(&mut file, &commands, &deleted, &placed.place);
        Some(file)
    }

    /// What becomes of the value beside the file.
    fn other_uses(&self, file: &mut WrittenFile, commands: &[Placed<'_>], deleted: &[&Placed<'_>], place: &str) {
        let name = self.name;
        let is_path = file.env.as_deref() == Some(name);
        let is_used = self.is_used(commands, deleted, !is_path);
        if is_path {
            // One variable cannot hold both, and the steps behind the deleted commands had the path.
            file.is_only_use = true;
            match is_used {
                true => file.lost.push(format!(
                    "{place}: {name} is the path of the file, and a step uses the content as an output: read the file there, or give the \
                    secret another name"
                )),
                false => file.notes.push(format!(
                    "{place}: {name} is the path of the file in every step: a step that needs the content reads the file"
                )),
            }
            return;
        }
        let reader = readers::first(self.steps(), commands).filter(|_| self.is_exported);
        file.is_only_use = !is_used && reader.is_none();
        if let (false, Some((reader_place, reader))) = (is_used, &reader) {
            file.notes.push(format!(
                "{reader_place}: {} may read {name} by itself, so {name} stays a variable beside the file: delete that entry if nothing \
                reads it",
                quoted(reader)
            ));
        } else if file.is_only_use && self.is_exported {
            file.notes.push(format!(
                "{place}: {name} is no variable any more: only the file has the value"
            ));
        }
    }

    /// The kubeconfig that `azure/k8s-set-context` makes.
    fn of_set_context(&self, commands: &[Placed<'_>]) -> Option<WrittenFile> {
        let mut steps = self.steps();
        let (_, place, step) = steps.find(|(scope, _, step)| {
            let is_action = step
                .action()
                .is_some_and(|action| action.eq_ignore_ascii_case(SET_CONTEXT));
            is_action
                && step
                    .inputs
                    .get("kubeconfig")
                    .is_some_and(|value| self.is_value(*scope, value.trim(), step))
        })?;
        let mut file = WrittenFile {
            file: "kubeconfig".to_owned(),
            env: Some("KUBECONFIG".to_owned()),
            ..WrittenFile::default()
        };
        file.changes.push(format!(
            "{place}: delete the step with {SET_CONTEXT}: podkey sets KUBECONFIG"
        ));
        if let Some(context) = step.inputs.get("context") {
            file.notes.push(format!(
                "{place}: the step chose the context {}: name it with --context, or in the secret",
                quoted(context)
            ));
        }
        file.notes.push(format!(
            "{place}: a guess: {} is a whole kubeconfig, which {SET_CONTEXT} wrote into a file",
            self.name
        ));
        self.other_uses(&mut file, commands, &[], &place);
        Some(file)
    }

    /// Each `env` that holds for some of the steps, with its place.
    fn env(&self) -> Vec<(String, &'a Texts)> {
        let of_steps = self.steps().map(|(_, place, step)| (place, &step.env));
        let of_scopes = self.found.scopes.iter().flat_map(|scope| {
            let (document, job) = (&scope.document, scope.job());
            let of_job = (format!("{}:{}", document.name, job.lines.start), &job.env);
            [(document.name.clone(), &document.env), of_job]
        });
        of_scopes.chain(of_steps).collect()
    }

    /// The steps of the step's job and of the actions around the step, with their places, without the step itself.
    fn steps(&self) -> impl Iterator<Item = (usize, String, &'a WorkflowStep)> + Clone {
        self.found
            .scopes
            .iter()
            .enumerate()
            .flat_map(|(number, scope): (usize, &Scope)| {
                let steps = scope.job().steps.iter().enumerate();
                let others = steps.filter(|(index, _)| *index != scope.step);
                others.map(move |(_, step)| (number, format!("{}:{}", scope.document.name, step.line), step))
            })
    }

    fn commands(&self) -> Vec<Placed<'a>> {
        let with_scripts = self
            .steps()
            .filter_map(|(scope, place, step)| Some((scope, place, step, step.run.as_deref()?)));
        with_scripts
            .flat_map(|(scope, place, step, run)| {
                let of = &self.found.scopes[scope];
                let env = [&of.document.env, &of.job().env, &step.env].into_iter().flatten();
                let env = Rc::new(env.map(|(name, value)| (name.clone(), value.clone())).collect());
                script::commands(run).into_iter().map(move |command| Placed {
                    scope,
                    place: place.clone(),
                    step,
                    env: Rc::clone(&env),
                    command,
                })
            })
            .collect()
    }

    /// Whether a variable or an expression is this value, and nothing else.
    fn is_value(&self, scope: usize, text: &str, step: &WorkflowStep) -> bool {
        if let Some(name) = variable(text) {
            return self.is_variable(scope, name, step);
        }
        let Some(found) = expression(text).filter(|found| *found == text) else {
            return false;
        };
        match inside(found).split_once('.') {
            Some((context, name)) if context.eq_ignore_ascii_case("env") => self.is_variable(scope, name.trim(), step),
            _ => self.is_output(scope, inside(found)),
        }
    }

    /// Whether a variable has this value in a step.
    fn is_variable(&self, scope: usize, name: &str, step: &WorkflowStep) -> bool {
        let job = self.found.scopes[scope].job();
        let set = [&step.env, &job.env].into_iter().find_map(|env| env.get(name));
        match set.map(|value| value.trim()) {
            None => name == self.name,
            Some(value) => {
                let found = expression(value).filter(|found| *found == value).map(inside);
                let is_env = found.and_then(|found| found.strip_prefix("env.")) == Some(self.name);
                is_env || found.is_some_and(|found| self.is_output(scope, found))
            }
        }
    }

    /// Whether the inside of an expression is the step's output, and nothing else.
    fn is_output(&self, scope: usize, inside: &str) -> bool {
        self.outputs.iter().filter(|(number, ..)| *number == scope).any(|(_, id, output)| {
            let found = uses(inside, &(1..2), id);
            matches!(found.as_slice(), [only] if only.text == inside && only.output.is_some_and(|name| name.eq_ignore_ascii_case(output)))
        })
    }

    /// Whether a text names the value, by the step's output, or also by the variable.
    fn is_named(&self, scope: usize, text: &str, by_variable: bool) -> bool {
        let named = self
            .outputs
            .iter()
            .filter(|(number, ..)| *number == scope)
            .any(|(_, id, output)| {
                let found = uses(text, &(1..usize::MAX), id);
                found
                    .iter()
                    .any(|found| found.output.is_none_or(|name| name.eq_ignore_ascii_case(output)))
            });
        named || (by_variable && has_word(text, self.name))
    }

    /// Whether the value is used other than by the deleted commands: as an output, or also as a variable.
    fn is_used(&self, commands: &[Placed<'_>], deleted: &[&Placed<'_>], by_variable: bool) -> bool {
        let is_kept = |placed: &&Placed<'_>| !deleted.iter().any(|deleted| std::ptr::eq(*deleted, *placed));
        let in_scripts = commands.iter().filter(is_kept).any(|placed| {
            let named = |text: &str| self.is_named(placed.scope, text, by_variable);
            let env = placed.step.env.iter();
            let mut aliases = env.filter(|(_, value)| named(value)).map(|(name, _)| name);
            placed.command.has(named)
                || aliases.any(|name| placed.command.has(|text| has_word(text, name)) || readers::reads_any(placed))
        });
        let set_context = |step: &WorkflowStep| {
            step.action()
                .is_some_and(|action| action.eq_ignore_ascii_case(SET_CONTEXT))
        };
        let in_steps = self
            .steps()
            .filter(|(_, _, step)| !deleted.is_empty() || !set_context(step))
            .any(|(scope, _, step)| self.is_used_by(scope, step, by_variable));
        let last = self.found.scopes.len() - 1;
        let in_jobs = self.found.scopes.iter().enumerate().any(|(number, scope)| {
            let job = scope.job();
            // The outputs of an action that another step uses are that step's outputs, which are searched.
            let of_action = scope.document.outputs.values().filter(|_| number == last);
            let mut texts = job.outputs.values().chain(job.env.values()).chain(of_action);
            texts.any(|text| self.is_named(number, text, by_variable))
        });
        in_scripts || in_steps || in_jobs
    }

    /// Whether a step uses the value outside of a script.
    fn is_used_by(&self, scope: usize, step: &WorkflowStep, by_variable: bool) -> bool {
        let condition = step.condition.iter();
        let env = step.env.values().filter(|_| step.run.is_none());
        let mut texts = condition.chain(step.inputs.values()).chain(env);
        texts.any(|text| self.is_named(scope, text, by_variable))
    }

    /// The variable that holds the file's path.
    fn variable_of(&self, path: &str, commands: &[Placed<'_>], file: &mut WrittenFile) {
        let assigned = commands.iter().filter_map(|placed| {
            let assignment = placed.command.assignment()?;
            let value = normal(assignment.value, &assignments(commands, placed.step));
            (value == path && assignment.name != "PATH").then_some((placed, assignment))
        });
        let assigned: Vec<(&Placed<'_>, Assignment<'_>)> = assigned.collect();
        for (placed, assignment) in assigned.iter().filter(|(_, assignment)| assignment.is_exported) {
            file.changes.push(format!(
                "{}: delete {}: podkey sets {}",
                placed.place,
                quoted(&placed.command.text),
                assignment.name
            ));
            file.env.get_or_insert_with(|| assignment.name.to_owned());
        }
        for (place, env) in self.env() {
            let mut same = env.iter().filter(|(_, value)| normal(value, &Texts::new()) == path);
            let Some((name, _)) = same.find(|(name, _)| is_variable_name(name)) else {
                continue;
            };
            let known = file.env.get_or_insert_with(|| name.clone());
            if known == name && file.seen_at() != path {
                file.changes.push(format!(
                    "{place}: remove {name} from env: podkey sets it for every step"
                ));
            }
        }
        if let (None, Some(name)) = (&file.env, variable(path)) {
            file.notes.push(format!(
                "a guess: {name}, whose value podkey does not know, is the path of the file: delete what sets {name}"
            ));
            file.env = Some(name.to_owned());
        }
        let local = assigned
            .iter()
            .find(|(placed, _)| placed.command.text.starts_with("export "));
        if let (None, Some((placed, assignment))) = (&file.env, local) {
            file.notes.push(format!(
                "{}: only this script set {}, now every step has it",
                placed.place, assignment.name
            ));
            file.env = Some(assignment.name.to_owned());
        }
        let usual = OF_HOME
            .iter()
            .find(|(home, ..)| *home == path)
            .and_then(|(_, _, env)| *env);
        if let (None, Some(name)) = (&file.env, usual) {
            file.notes.push(format!(
                "a guess: programs that read {path} by themselves also read {name}"
            ));
            file.env = Some(name.to_owned());
        }
    }
}

/// Whether a block of a shell, as in `if …; then … fi`, has this command and nothing else but upkeep of the file.
fn is_alone_in_block(commands: &[Placed<'_>], command: &Placed<'_>) -> bool {
    let of_step = commands.iter().filter(|placed| std::ptr::eq(placed.step, command.step));
    let others: Vec<&Placed<'_>> = of_step
        .filter(|placed| std::ptr::eq(*placed, command) || !placed.command.is_upkeep())
        .collect();
    let Some(at) = others.iter().position(|placed| std::ptr::eq(*placed, command)) else {
        return false;
    };
    let is_one_of = |at: Option<usize>, words: &[&str]| {
        let first = at.and_then(|at| others.get(at)?.command.text.split_whitespace().next());
        first.is_some_and(|first| words.contains(&first))
    };
    is_one_of(at.checked_sub(1), &["then", "else", "do"]) && is_one_of(Some(at + 1), &["fi", "else", "elif", "done"])
}

/// Whether the text has the word as a name: not as a part of another name, nor as a part of a path.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let is_of_path = |c: char| "/.-".contains(c);
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let is_reference = before.ends_with(['$', '{']) || before.ends_with("env.");
        let is_path = before.ends_with(is_of_path) || after.starts_with(is_of_path);
        !before.ends_with(is_part) && !after.starts_with(is_part) && (is_reference || !is_path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_a_path_is_no_variable() {
        for (text, expected) in [
            ("echo $KUBE", true),
            ("echo ${KUBE}/x", true),
            ("${{ env.KUBE }}", true),
            ("printenv KUBE", true),
            ("os.environ['KUBE']", true),
            ("cat /tmp/KUBE", false),
            ("cat KUBE.yaml a-KUBE", false),
            ("$KUBE_FILE $MY_KUBE", false),
        ] {
            assert_eq!(has_word(text, "KUBE"), expected, "{text}");
        }
    }
}
