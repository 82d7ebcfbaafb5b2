//! `$(NAME)` in a container's command, arguments and variables, where Kubernetes does not know NAME. Kubernetes leaves such a text
//! as it is. The variables of `podkey.dev/env` are not in the pod's spec, and the variable with the path of a file comes after the
//! container's variables. <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>

use std::collections::BTreeSet;

use crate::inject::pod::{Container, EnvVar, Variables};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::survey::{AgentUse, Survey, VariableSetter};
use crate::inject::words::keys::{ENV, FILES};
use crate::plan::{ENV_DIR, SECRETS_DIR, Select};

/// Reports each such name once for each reader.
pub(super) fn check(survey: &Survey<'_>, request: &InjectionRequest, problems: &mut Problems) {
    let env = request.env.iter().map(|env| &env.select);
    let selects = env.chain(request.job_env.iter().map(|env| &env.select));
    let secrets: BTreeSet<&str> = selects
        .filter_map(|select| match select {
            Select::Value { name, .. } => Some(name.as_str()),
            Select::UpperCase { .. } | Select::KeepCase { .. } => None,
        })
        .collect();
    let has_paths = request.files.iter().any(|file| file.env.is_some());
    if secrets.is_empty() && !has_paths {
        return;
    }
    let readers = survey.readers.found.iter().map(|reader| reader.container);
    for container in readers.filter(|container| container.has_references()) {
        let references = ContainerReferences::of(container, &secrets, request);
        // Kubernetes knows the variables that the kubelet sets, which come before the container's own.
        if survey.variable_setter_of(container) != Some(VariableSetter::Kubelet) {
            references.check_secrets(&secrets, survey.agent_use, problems);
        }
        references.check_paths(request, problems);
    }
}

/// A container that may have references, and those of its variables that matter.
struct ContainerReferences<'c, 'a> {
    container: &'c Container<'a>,
    /// Variables with a name that podkey sets too, or with a reference in the value.
    variables: Variables<'a>,
}

impl<'c, 'a> ContainerReferences<'c, 'a> {
    fn of(container: &'c Container<'a>, secrets: &BTreeSet<&str>, request: &InjectionRequest) -> Self {
        let paths = request.files.iter().filter_map(|file| file.env.as_deref());
        let names: BTreeSet<&str> = secrets.iter().copied().chain(paths).collect();
        let refers = |var: &EnvVar<'_>| var.value.as_deref().is_some_and(|value| value.contains("$("));
        Self {
            container,
            variables: container.variables(|var| names.contains(&*var.name) || refers(var)),
        }
    }

    fn values(&self) -> impl Iterator<Item = &str> {
        self.variables.values().filter_map(|var| var.value.as_deref())
    }

    /// Reports references to variables that hold secrets.
    fn check_secrets(&self, secrets: &BTreeSet<&str>, agent_use: AgentUse, problems: &mut Problems) {
        // With `envFrom` nobody knows from the pod which names there are.
        if self.container.has_env_from() {
            return;
        }
        let mut reported: BTreeSet<&str> = BTreeSet::new();
        let (command, args) = (self.container.command(), self.container.args());
        let command = command.iter().map(|word| ("command", &**word));
        let args = args.iter().map(|word| ("args", &**word));
        let values = self.values().map(|value| ("env", value));
        for (field, text) in command.chain(args).chain(values) {
            for name in references(text) {
                let unknown = secrets.get(name).filter(|name| !self.variables.contains_key(**name));
                if let Some(name) = unknown.filter(|name| reported.insert(name)) {
                    problems.push_with(|| (ENV, unknown_secret(self.container, field, name, agent_use)));
                }
            }
        }
    }

    /// Reports references to the paths of files in variables. (In command and arguments, Kubernetes knows these names.)
    fn check_paths(&self, request: &InjectionRequest, problems: &mut Problems) {
        let paths = request.files.iter().filter_map(|file| file.env.as_deref());
        let paths: BTreeSet<&str> = paths.filter(|name| !self.variables.contains_key(*name)).collect();
        if paths.is_empty() {
            return;
        }
        let names = self.values().flat_map(references);
        let referenced: BTreeSet<&str> = names.filter_map(|name| paths.get(name).copied()).collect();
        for file in &request.files {
            if let Some(name) = file.env.as_deref().filter(|name| referenced.contains(name)) {
                problems.push(
                    file.place_of("env"),
                    format!(
                        "{} comes after the variables of the container {}, one of which has $({name}) in its value: write {} there",
                        quoted(name),
                        quoted(&self.container.name),
                        quoted(&file.file.path())
                    ),
                );
            }
        }
    }
}

fn unknown_secret(container: &Container<'_>, field: &str, name: &str, agent_use: AgentUse) -> String {
    let container = quoted(&container.name);
    let remedy = match agent_use {
        AgentUse::Exec => format!(
            "let a shell do it, as in command: [sh, -c, 'exec app --token \"${name}\"'], or let the program read the variable"
        ),
        AgentUse::JobHooks => {
            format!("only the steps of a job get the variable: use it there, or deliver a file with {FILES}")
        }
        AgentUse::None => format!("let the program read the file {SECRETS_DIR}/{ENV_DIR}/{name}"),
    };
    format!(
        "{} is not a variable of the container {container} that Kubernetes knows, so $({name}) in its {field} stays as it is: {remedy}",
        quoted(name)
    )
}

/// Each NAME of a `$(NAME)` in the text. `$$` is a dollar.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, behind) = rest.split_once('$')?;
            if let Some(behind) = behind.strip_prefix('$') {
                rest = behind;
            } else if let Some(inside) = behind.strip_prefix('(') {
                let (name, behind) = inside.split_once(')')?;
                rest = behind;
                return Some(name);
            } else {
                rest = behind;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_as_kubernetes_finds_them() {
        for (text, names) in [
            ("$(A)", &["A"][..]),
            ("--a=$(A)$(B) $C", &["A", "B"]),
            ("$$(A)", &[]),
            ("$$$(A)", &["A"]),
            ("$(A", &[]),
            ("$", &[]),
            ("$()x", &[""]),
            ("\u{e4}$(\u{e4})", &["\u{e4}"]),
        ] {
            assert_eq!(references(text).collect::<Vec<_>>(), names, "{text}");
        }
    }
}
