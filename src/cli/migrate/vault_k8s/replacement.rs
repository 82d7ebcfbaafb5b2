//! The replacement of one pod template's annotations: collected by subject, then shown.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::theirs::{self, Theirs};
use crate::cli::migrate::output::{comment, exact, quoted, scalar};
use crate::inject::Pod;
use crate::inject::keys::{AUTH_MOUNT, CONTAINERS, FILES, JOB_HOOKS, ON_CHANGE, REFRESH, ROLE};
use crate::plan::{Destination, OnChange, SECRETS_DIR};

/// The replacement of one pod template's annotations.
#[derive(Default)]
pub(super) struct PodReplacement {
    /// Keys and values, in the order shown.
    annotations: Vec<(&'static str, String)>,
    /// Changes of the containers.
    changes: Vec<String>,
    notes: Vec<String>,
    /// Features that cannot be carried over, each with the reason.
    pub(super) lost: Vec<String>,
}

impl PodReplacement {
    /// `pod` and `view` are the same pod.
    pub(super) fn of(theirs: &Theirs, pod: &Value, view: &Pod<'_>) -> Self {
        let mut replacement = Self {
            changes: theirs.changes.clone(),
            notes: theirs.notes.clone(),
            lost: theirs.problems.clone(),
            ..Self::default()
        };
        for (key, value) in [(ROLE, &theirs.role), (AUTH_MOUNT, &theirs.auth_mount)] {
            if let Some(value) = value {
                replacement.annotations.push((key, scalar(value)));
            }
        }
        replacement.readers(theirs, view);
        replacement.files(theirs, pod);
        replacement.refresh(theirs);
        if view.is_runner() {
            replacement.annotations.push((JOB_HOOKS, quoted("false")));
        }
        replacement
    }

    fn readers(&mut self, theirs: &Theirs, view: &Pod<'_>) {
        let main: Vec<_> = view.spec.containers.iter().map(|container| &*container.name).collect();
        // podkey's own default, but for a mesh's sidecar, which is in no template.
        if view.is_runner() || view.is_workflow() || theirs.containers != main {
            self.annotations
                .push((CONTAINERS, scalar(&theirs.containers.join(", "))));
        }
    }

    fn files(&mut self, theirs: &Theirs, pod: &Value) {
        if theirs.files.is_empty() {
            return;
        }
        let mut entries = String::new();
        for file in &theirs.files {
            let place = place(theirs, &file.directory, &file.name);
            let _ = writeln!(entries, "- file: {}", scalar(&place));
            let _ = writeln!(entries, "  mode: {}", quoted(&file.mode));
            if let Some([left, right]) = &file.delims {
                let _ = writeln!(entries, "  delims: [{}, {}]", quoted(left), quoted(right));
            }
            let _ = writeln!(entries, "  template: {}", exact(&file.text, 4));
        }
        self.annotations.push((FILES, exact(&entries, 2)));
        if theirs.refresh.is_some() {
            self.moved(theirs, pod);
        }
        if theirs.files.iter().any(|file| !file.fails_on_missing) {
            self.notes.push(
                "a field that is missing, or null, fails the pod with the field's name: vault-k8s writes <no value> into the file"
                    .to_owned(),
            );
        }
        self.unclear_paths(theirs);
    }

    /// Files that are kept fresh lie below podkey's own directory.
    fn moved(&mut self, theirs: &Theirs, pod: &Value) {
        let moved = theirs.places().map(|(directory, name)| {
            let place = place(theirs, directory, name);
            format!("{} becomes {SECRETS_DIR}/{place}", theirs::path(directory, name))
        });
        self.changes.extend(moved);
        let mut directories: Vec<_> = theirs.files.iter().map(|file| file.directory.as_str()).collect();
        directories.sort_unstable();
        directories.dedup();
        for list in ["/spec/initContainers", "/spec/containers"] {
            for container in pod.pointer(list).and_then(Value::as_array).into_iter().flatten() {
                let text = container.to_string();
                for directory in directories.iter().filter(|directory| text.contains(**directory)) {
                    let name = container["name"].as_str().unwrap_or_default().escape_debug();
                    self.changes.push(format!("container {name} names {directory}"));
                }
            }
        }
        self.notes.push(
            "without refresh (agent-pre-populate-only), a file can stay where it was: podkey mounts single files at any path"
                .to_owned(),
        );
    }

    /// Which path the server needs depends on the mount, which only the server knows.
    fn unclear_paths(&mut self, theirs: &Theirs) {
        let has_data = |path: &str| path.split('/').skip(1).any(|segment| segment == "data");
        let paths = theirs.files.iter().flat_map(|file| &file.read_paths);
        let unclear: BTreeSet<&str> = paths.map(String::as_str).filter(|path| !has_data(path)).collect();
        if !unclear.is_empty() {
            let unclear: Vec<_> = unclear.into_iter().collect();
            self.notes.push(format!(
                "paths without data/: {}. If the mount is a KV engine of version 2, write data/ behind the mount, as in \
                 secret/data/web: podkey's own annotations name paths of the API",
                unclear.join(", ")
            ));
        }
    }

    fn refresh(&mut self, theirs: &Theirs) {
        let Some(interval) = &theirs.refresh else { return };
        self.annotations.push((REFRESH, scalar(interval)));
        if !theirs.on_change.is_empty() {
            let actions = theirs.on_change.iter().map(|change| action(theirs, change) + "\n");
            let actions: String = actions.collect();
            self.annotations.push((ON_CHANGE, exact(&actions, 2)));
            if actions.contains("signal:") {
                self.notes.push(
                    "a signal needs shareProcessNamespace: true in the pod, and allowSharedProcessNamespace in the operator's config"
                        .to_owned(),
                );
            }
        }
    }

    /// The annotations.
    pub(super) fn yaml(&self) -> String {
        self.annotations.iter().fold(String::new(), |mut yaml, (key, value)| {
            let _ = writeln!(yaml, "{key}: {value}");
            yaml
        })
    }

    /// Whether a change is told that lets the pod's containers see each other's processes.
    pub(super) fn shares_processes(&self) -> bool {
        self.changes.iter().any(|change| change == theirs::SHARE_PROCESSES)
    }

    /// The document of this pod template. `title` names the file and the object.
    pub(super) fn shown(&self, title: &str) -> String {
        let mut shown = comment(title);
        if !self.annotations.is_empty() {
            shown.push_str("# In the pod template, these annotations take the place of vault-k8s':\n");
        }
        shown.push_str(&self.yaml());
        for (title, lines) in [
            ("Change in the containers:", &self.changes),
            ("Notes:", &self.notes),
            ("Cannot be carried over:", &self.lost),
        ] {
            if !lines.is_empty() {
                shown.push_str(&comment(title));
            }
            for line in lines.iter().flat_map(|line| line.lines()) {
                shown.push_str(&comment(&format!("  {line}")));
            }
        }
        shown
    }
}

/// What the entry's `file` says of the file with the path `name` below the directory. Two files of one name in several directories
/// keep their directories.
fn place(theirs: &Theirs, directory: &str, name: &str) -> String {
    let path = theirs::path(directory, name);
    if theirs.refresh.is_none() {
        return path;
    }
    let is_ambiguous = theirs.places().any(|(other, same)| same == name && other != directory);
    match is_ambiguous {
        false => name.to_owned(),
        true => path.trim_start_matches('/').to_owned(),
    }
}

/// The action as `podkey.dev/on-change` has it: the file that is touched lies beside the files that are kept fresh.
fn action(theirs: &Theirs, action: &OnChange) -> String {
    match action {
        OnChange::Touch(Destination::InDirectory { directory, name }) => {
            format!("touch:{}", place(theirs, directory, name))
        }
        action => action.to_string(),
    }
}
