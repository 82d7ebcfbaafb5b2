//! `$(NAME)` in a container's command, arguments and variables, where Kubernetes cannot know NAME: a variable of
//! podkey's is none of the container's own, and the path of a file stands behind the container's variables. Kubernetes would
//! leave the text as it is. <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>

use std::collections::BTreeSet;

use crate::inject::patch::parts::Tool;
use crate::inject::pod::readers::Reader;
use crate::inject::pod::{Container, EnvVar};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::request::keys::ENV;
use crate::plan::{ENV_DIR, SECRETS_DIR, Select};

/// Tells of each such name, once for each reader.
pub(crate) fn check(readers: &[Reader<'_, '_>], tool: Tool, request: &InjectionRequest, problems: &mut Problems) {
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
    // A container that refers to no variable, as most do not, is not looked into.
    let containers = readers.iter().map(|reader| reader.container);
    for container in containers.filter(|container| container.has_references()) {
        check_container(container, &secrets, tool, request, problems);
    }
}

fn check_container(
    container: &Container<'_>,
    secrets: &BTreeSet<&str>,
    tool: Tool,
    request: &InjectionRequest,
    problems: &mut Problems,
) {
    let paths = || request.files.iter().filter_map(|file| file.env.as_deref());
    let asked: BTreeSet<&str> = secrets.iter().copied().chain(paths()).collect();
    let refers = |var: &EnvVar<'_>| var.value.as_deref().is_some_and(|value| value.contains("$("));
    let present = container.variables(|var| asked.contains(&*var.name) || refers(var));
    let own: BTreeSet<&str> = present.values().map(|var| &*var.name).collect();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let (command, args) = (container.command(), container.args());
    let words = command.iter().map(|word| ("command", &**word));
    let words = words.chain(args.iter().map(|word| ("args", &**word)));
    let values = present.values().filter_map(|var| Some(("env", var.value.as_deref()?)));
    // Names from a ConfigMap nobody can see from here.
    let secrets = secrets
        .iter()
        .filter(|name| !own.contains(*name) && !container.has_env_from());
    let secrets: BTreeSet<&str> = secrets.copied().collect();
    for (field, text) in words.chain(values.clone()) {
        for name in references(text) {
            if let Some(name) = secrets.get(name).filter(|name| told.insert(name)) {
                problems.push_with(|| (ENV, unknown(container, field, name, tool)));
            }
        }
    }
    let paths: BTreeSet<&str> = paths().filter(|name| !own.contains(name)).collect();
    if paths.is_empty() {
        return;
    }
    let referenced: BTreeSet<&str> = values
        .flat_map(|(_, text)| references(text))
        .filter_map(|name| paths.get(name).copied())
        .collect();
    for file in &request.files {
        if let Some(name) = file.env.as_deref().filter(|name| referenced.contains(name)) {
            problems.push(
                format!("{}.env", file.place()),
                format!(
                    "{} stands behind the variables of the container {}, one of which has $({name}) in its value: write {} there",
                    quoted(name),
                    quoted(&container.name),
                    quoted(&file.file.path())
                ),
            );
        }
    }
}

fn unknown(container: &Container<'_>, field: &str, name: &str, tool: Tool) -> String {
    let container = quoted(&container.name);
    let mend = match tool {
        Tool::Exec => format!(
            "let a shell do it, as in command: [sh, -c, 'exec app --token \"${name}\"'], or let the program read the variable"
        ),
        Tool::Hooks => {
            "only the steps of a job get it: use it there, or deliver a file with podkey.dev/files".to_owned()
        }
        Tool::None => format!("let the program read the file {SECRETS_DIR}/{ENV_DIR}/{name}"),
    };
    format!(
        "{} is no variable of the container {container} that Kubernetes knows, and $({name}) in its {field} stays as it is: {mend}",
        quoted(name)
    )
}

/// The names in `$(NAME)`. `$$` is a dollar.
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
