//! What vault-k8s' annotations of one pod ask for, in texts that podkey's own annotations can have.

use crate::inject::keys::CONNECTION;
use crate::inject::vault_k8s::asked::{RunAs, VaultK8sRequest};
use crate::inject::{FileRequest, INJECT_TOKEN, INJECTED, PREFIX, Pod, Problems, RequestedContent, vault_k8s};
use crate::plan::{Content, Destination, OnChange};
use crate::template::MissingField;

/// A change of the pod's spec.
pub(super) const SHARE_PROCESSES: &str = "write shareProcessNamespace: true into the pod's spec";

/// What the annotations ask for.
#[derive(Debug, Default)]
pub(super) struct Theirs {
    pub(super) role: Option<String>,
    pub(super) auth_mount: Option<String>,
    pub(super) files: Vec<TheirFile>,
    /// The containers that get the files.
    pub(super) containers: Vec<String>,
    /// None: the files are written once.
    pub(super) refresh: Option<String>,
    pub(super) on_change: Vec<OnChange>,
    /// Changes of the pod's spec.
    pub(super) changes: Vec<String>,
    pub(super) notes: Vec<String>,
    /// Why an annotation cannot be carried over, with its key.
    pub(super) problems: Vec<String>,
}

/// One file.
#[derive(Debug)]
pub(super) struct TheirFile {
    /// Where the directory is mounted.
    pub(super) directory: String,
    /// The path below the directory.
    pub(super) name: String,
    /// Octal digits.
    pub(super) mode: String,
    pub(super) text: String,
    pub(super) delims: Option<[String; 2]>,
    /// A missing field fails.
    pub(super) fails_on_missing: bool,
    /// The paths that are read, without those that are written.
    pub(super) read_paths: Vec<String>,
}

/// Where the containers see the file with the path `name` below the directory.
pub(super) fn path(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

/// None: vault-k8s would not inject the pod.
pub(super) fn of(pod: &Pod<'_>, namespace: &str) -> Option<Theirs> {
    let annotations = pod.metadata.annotations.as_ref()?;
    if !vault_k8s::asks(annotations) {
        return None;
    }
    let mut problems = Problems::default();
    let request = vault_k8s::parse(annotations, namespace, &mut problems);
    let mut theirs = Theirs {
        role: request.role.given().map(|role| role.as_str().to_owned()),
        auth_mount: request.auth_mount.as_ref().map(|mount| mount.as_str().to_owned()),
        files: request.files.iter().filter_map(file).collect(),
        refresh: request.refresh.given().map(|interval| interval.to_string()),
        on_change: request.on_change.clone(),
        problems: problems
            .iter()
            .map(|problem| format!("{}: {}", problem.key, problem.message))
            .collect(),
        ..Theirs::default()
    };
    if annotations
        .ours
        .iter()
        .any(|(name, _)| INJECTED.strip_prefix(PREFIX) != Some(name))
    {
        theirs.problems.push(format!(
            "{PREFIX}: the pod has annotations of podkey too: put the entries of one key together, and keep one value of each other key"
        ));
    }
    if let Some(asked) = &request.vault_k8s {
        if request.token_file.is_some() {
            theirs.problems.push(format!(
                "{}: podkey's own annotations give no container the client token: deliver the secrets instead",
                asked.family.key(INJECT_TOKEN)
            ));
        }
        theirs.containers = containers(pod, asked);
        theirs.circumstances(asked);
    }
    Some(theirs)
}

fn file(request: &FileRequest) -> Option<TheirFile> {
    let (RequestedContent::Init(Content::Template(template)), Destination::InDirectory { directory, name }) =
        (&request.content, &request.file)
    else {
        return None;
    };
    let read = template.requests().iter().filter(|request| request.data.is_none());
    Some(TheirFile {
        directory: directory.clone(),
        name: name.clone(),
        mode: request.mode.map(|mode| mode.to_string())?,
        text: template.text().to_owned(),
        delims: template.delims().cloned(),
        fails_on_missing: template.missing() != MissingField::Print,
        read_paths: read.map(|request| request.secret.as_str().to_owned()).collect(),
    })
}

/// The names of the containers that get the files, in the pod's order.
fn containers(pod: &Pod<'_>, asked: &VaultK8sRequest) -> Vec<String> {
    let is_named = |name: &str| {
        let mut named = asked.containers.iter().flatten();
        asked.containers.is_none() || named.any(|named| named == name)
    };
    let init = pod.init_containers().iter().filter(|_| asked.serves_init_containers);
    let main = pod.spec.containers.iter().filter(|container| is_named(&container.name));
    init.chain(main).map(|container| container.name.to_string()).collect()
}

impl Theirs {
    /// Directory and name of each file, then of each file that is touched after a change.
    pub(super) fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter().map(|file| (&*file.directory, &*file.name));
        let touched = self.on_change.iter().filter_map(|action| match action {
            OnChange::Touch(Destination::InDirectory { directory, name }) => Some((&**directory, &**name)),
            _ => None,
        });
        files.chain(touched)
    }

    /// What no annotation of podkey's says.
    fn circumstances(&mut self, asked: &VaultK8sRequest) {
        self.notes.extend(asked.warnings.iter().cloned());
        if let Some(address) = &asked.service {
            self.notes.push(format!(
                "{}: name the operator's connection to {address} in {CONNECTION}, unless that is the default connection",
                asked.family.key("service")
            ));
        }
        if let Some(namespace) = &asked.namespace {
            self.notes.push(format!(
                "{}: the connection must have the namespace {}, or {CONNECTION} must name one that has",
                asked.family.key("namespace"),
                namespace.as_str()
            ));
        }
        match asked.run_as {
            RunAs::Podkeys | RunAs::FirstContainers => {}
            RunAs::User(user) => self.notes.push(format!(
                "{}: podkey's containers run as the user of the containers that get the files: write runAsUser: {user} there, if \
                 no other user is meant",
                asked.family.key("agent-run-as-user")
            )),
        }
        if asked.shares_processes {
            self.changes.push(SHARE_PROCESSES.to_owned());
        }
    }
}
