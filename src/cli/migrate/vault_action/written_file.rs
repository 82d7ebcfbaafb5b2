//! Files that steps write from a value of vault-action: podkey can write such a file itself, and set the variable with its path.

use super::expressions::{expression, inside};
use super::kept_entry::secret_file;
use super::placed::{Placed, assignments};
use super::script::variable;
use super::workflow::Texts;
use crate::text::quoted;

/// Files of a home directory whose directory the job must be able to write: the file's name below podkey's own directory, and the
/// variable that programs read.
pub(super) const OF_HOME: [(&str, &str, Option<&str>); 3] = [
    ("~/.kube/config", "kubeconfig", Some("KUBECONFIG")),
    (
        "~/.aws/credentials",
        "aws-credentials",
        Some("AWS_SHARED_CREDENTIALS_FILE"),
    ),
    ("~/.docker/config.json", "config.json", None),
];

/// A file that podkey can write in place of a step.
#[derive(Debug, Default)]
pub(super) struct WrittenFile {
    pub(super) decode: Option<&'static str>,
    /// `file` of the entry.
    pub(super) file: String,
    /// The variable that holds the path.
    pub(super) env: Option<String>,
    /// Whether nothing else uses the value.
    pub(super) is_only_use: bool,
    /// Changes of the workflow.
    pub(super) changes: Vec<String>,
    pub(super) notes: Vec<String>,
    /// What cannot be carried over.
    pub(super) lost: Vec<String>,
}

impl WrittenFile {
    /// Where podkey writes the file. A directory of the job must stay one that the job can write, and the runner empties some.
    pub(super) fn place(&mut self, path: &str, name: &str) {
        let of_home = OF_HOME
            .iter()
            .find(|(home, ..)| *home == path)
            .map(|(_, file, _)| (*file).to_owned());
        let last = path.rsplit('/').next().unwrap_or_default();
        let is_plain =
            !last.is_empty() && last.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && last != "..";
        let relative = || if is_plain { last.to_owned() } else { name.to_lowercase() };
        let is_literal = !path.contains(['$', '{', '*', ' ', '(']);
        self.file = match (of_home, path.strip_prefix("~/")) {
            (Some(file), _) => file,
            (None, Some(below)) if is_literal && !below.contains('/') => format!("/home/runner/{below}"),
            (None, None) if path.starts_with('/') && is_literal && !path.starts_with("/github/") => path.to_owned(),
            _ => relative(),
        };
    }

    /// Where the steps see the file.
    pub(super) fn seen_at(&self) -> String {
        match self.file.starts_with('/') {
            true => self.file.clone(),
            false => secret_file(&self.file),
        }
    }

    /// Commands that do something else with the file.
    pub(super) fn other_commands(&mut self, path: &str, commands: &[Placed<'_>], deleted: &[&Placed<'_>]) {
        let seen = self.seen_at();
        let is_kept = |placed: &&Placed<'_>| !deleted.iter().any(|deleted| std::ptr::eq(*deleted, *placed));
        for placed in commands.iter().filter(is_kept) {
            let mut assigned = assignments(commands, placed.step);
            // podkey sets this variable.
            assigned.retain(|name, _| self.env.as_ref() != Some(name));
            let words = placed.command.words();
            let mut parts = words.iter().flat_map(|word| word.split('=').chain([word.as_str()]));
            let names = parts.any(|part| normal(part, &assigned) == path);
            if !names
                || placed
                    .command
                    .assignment()
                    .is_some_and(|assignment| assignment.is_exported)
            {
                continue;
            }
            let command = quoted(&placed.command.text);
            let assigned = placed.command.assignment().map(|assignment| assignment.name.to_owned());
            if let Some(name) = assigned.filter(|name| self.env.as_ref() == Some(name)) {
                self.changes
                    .push(format!("{}: delete {command}: podkey sets {name}", placed.place));
            } else if placed.command.is_upkeep() {
                self.changes.push(format!(
                    "{}: delete {command}: the file is podkey's, and read-only",
                    placed.place
                ));
            } else if seen != path {
                self.changes
                    .push(format!("{}: {command}: the file is now {seen}", placed.place));
            }
        }
    }

    /// What the author should know about the file.
    pub(super) fn about(&mut self, path: &str, place: &str) {
        if path.starts_with("~/.ssh/") {
            self.notes.push(format!(
                "{place}: ssh reads the key with -i {}, or IdentityFile in its config; the secret must end with a line end, \
                 which echo added",
                self.seen_at()
            ));
        } else if path == "~/.docker/config.json" {
            self.notes.push(format!(
                "{place}: docker reads the file with --config /podkey/secrets, or by DOCKER_CONFIG"
            ));
        } else if normal(&self.seen_at(), &Texts::new()) != path && self.env.is_none() {
            self.notes.push(format!(
                "{place}: a guess: the steps that read the file can read {}",
                self.seen_at()
            ));
        }
    }
}

/// A path in one spelling: `~` for the home directory, `$RUNNER_TEMP`, and nothing before a path in the workspace.
pub(super) fn normal(path: &str, assigned: &Texts) -> String {
    const SPELLINGS: [(&str, &str); 17] = [
        ("${{ runner.temp }}", "$RUNNER_TEMP"),
        ("${{runner.temp}}", "$RUNNER_TEMP"),
        ("${{ env.RUNNER_TEMP }}", "$RUNNER_TEMP"),
        ("${RUNNER_TEMP}", "$RUNNER_TEMP"),
        ("${{ github.workspace }}/", ""),
        ("${{github.workspace}}/", ""),
        ("${GITHUB_WORKSPACE}/", ""),
        ("$GITHUB_WORKSPACE/", ""),
        ("${PWD}/", ""),
        ("$PWD/", ""),
        ("$(pwd)/", ""),
        ("./", ""),
        ("${{ env.HOME }}", "~"),
        ("${HOME}", "~"),
        ("$HOME", "~"),
        ("/home/runner/_work", "$GITHUB_WORKSPACE"),
        ("/home/runner", "~"),
    ];
    let mut path = path.trim_matches(['"', '\'']).to_owned();
    let first = path.split('/').next().unwrap_or_default();
    let of_env = || {
        let inside = expression(first).filter(|found| *found == first).map(inside)?;
        inside.strip_prefix("env.")
    };
    if let Some(value) = variable(first).or_else(of_env).and_then(|name| assigned.get(name)) {
        path = format!("{value}{}", &path[first.len()..]);
    }
    for (spelling, usual) in SPELLINGS {
        if let Some(rest) = path.strip_prefix(spelling) {
            path = format!("{usual}{rest}");
        }
    }
    path
}
