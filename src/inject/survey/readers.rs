//! The readers: the containers of the pod that get the files, and the user that reads the files.

use crate::inject::pod::runner::{RUNNER, RUNNER_UID, WORKFLOW_CONTAINER};
use crate::inject::pod::{Container, Pod};
use crate::inject::request::InjectionRequest;
use crate::inject::request::vault_k8s::asked::VaultK8sRequest;
use crate::inject::words::names;
use crate::plan::Mode;

/// A container that gets the files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'s> {
    pub(crate) list: ContainerList,
    /// The place in `list`, from 0.
    pub(crate) index: usize,
    pub(crate) container: &'s Container<'s>,
}

/// A list of containers in the pod's spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerList {
    Init,
    Main,
}

impl ContainerList {
    /// The list's JSON Pointer in the pod.
    pub(crate) fn pointer(self) -> &'static str {
        match self {
            Self::Init => "/spec/initContainers",
            Self::Main => "/spec/containers",
        }
    }
}

/// Containers that carry the pod's traffic and run no work of the author's.
pub(crate) const MESH_SIDECARS: [&str; 2] = ["istio-proxy", "linkerd-proxy"];

/// Where `podkey-init` goes: first, so that the pod's own init containers can use the files, but behind a mesh's native sidecars,
/// without which there is no network.
pub(super) fn init_position(pod: &Pod<'_>) -> usize {
    let is_mesh =
        |container: &Container<'_>| container.is_native_sidecar() && MESH_SIDECARS.contains(&&*container.name);
    let last_mesh = pod.init_containers().iter().rposition(is_mesh);
    last_mesh.map_or(0, |index| index + 1)
}

/// The readers of a pod.
#[derive(Debug)]
pub(crate) struct Readers<'s> {
    pub(crate) found: Vec<Reader<'s>>,
    pub(crate) missing: MissingReaders<'s>,
}

/// The readers that a pod should have, but does not have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MissingReaders<'s> {
    /// The author named these containers. The list may be empty.
    Named(Vec<&'s str>),
    /// The kind of pod implies this container.
    Implied { name: &'static str, kind: &'static str },
    /// The pod has no container but a mesh's sidecar.
    All,
}

impl MissingReaders<'_> {
    pub(crate) const NONE: Self = Self::Named(Vec::new());
}

impl<'s> Readers<'s> {
    /// Chooses the readers: the containers that the author `named`, else the containers that the kind of pod implies.
    pub(super) fn of(pod: &'s Pod<'s>, request: &'s InjectionRequest) -> Self {
        if let Some(named) = &request.containers {
            return Self::named(pod, named);
        }
        if let Some(theirs) = &request.vault_k8s {
            return Self::of_vault_k8s(pod, theirs);
        }
        let implied = if pod.is_runner() {
            Some((RUNNER, "a runner pod"))
        } else if pod.is_workflow() {
            Some((WORKFLOW_CONTAINER, "a pod of a job in ARC's kubernetes mode"))
        } else {
            None
        };
        let found: Vec<_> = match implied {
            Some((name, _)) => authors_containers(pod)
                .find(|reader| reader.container.name == name)
                .into_iter()
                .collect(),
            None => authors_containers(pod)
                .filter(|reader| {
                    reader.list == ContainerList::Main && !MESH_SIDECARS.contains(&&*reader.container.name)
                })
                .collect(),
        };
        let missing = match (found.is_empty(), implied) {
            (false, _) => MissingReaders::NONE,
            (true, Some((name, kind))) => MissingReaders::Implied { name, kind },
            (true, None) => MissingReaders::All,
        };
        Self { found, missing }
    }

    /// The containers that vault-k8s gives the files: those that are named, else all; and all init containers that `podkey-init` can
    /// come before. A mesh's sidecar gets files only by its name.
    fn of_vault_k8s(pod: &'s Pod<'s>, theirs: &'s VaultK8sRequest) -> Self {
        let is_mesh = |container: &Container<'_>| MESH_SIDECARS.contains(&&*container.name);
        let own = |container: &Container<'_>| container.name == names::INIT_CONTAINER;
        let own = pod.init_containers().iter().position(own);
        let init = own.unwrap_or_else(|| init_position(pod));
        let is_reader = |reader: &Reader<'_>| match (reader.list, &theirs.containers) {
            (ContainerList::Init, _) => {
                theirs.serves_init_containers && reader.index >= init && !is_mesh(reader.container)
            }
            (ContainerList::Main, None) => !is_mesh(reader.container),
            (ContainerList::Main, Some(names)) => names.iter().any(|name| *name == *reader.container.name),
        };
        let found: Vec<_> = authors_containers(pod).filter(is_reader).collect();
        let missing = match (&theirs.containers, found.is_empty()) {
            (_, false) => MissingReaders::NONE,
            (None, true) => MissingReaders::All,
            (Some(names), true) => MissingReaders::Named(names.iter().map(String::as_str).collect()),
        };
        Self { found, missing }
    }

    fn named(pod: &'s Pod<'s>, named: &'s [String]) -> Self {
        let all: Vec<_> = authors_containers(pod).collect();
        let (mut found, mut missing) = (Vec::with_capacity(named.len()), Vec::new());
        for name in named {
            match all.iter().find(|reader| reader.container.name == *name) {
                Some(reader) => found.push(*reader),
                None => missing.push(name.as_str()),
            }
        }
        Self {
            found,
            missing: MissingReaders::Named(missing),
        }
    }

    /// Whether the container is a reader.
    pub(crate) fn contain(&self, container: &Container<'_>) -> bool {
        self.found
            .iter()
            .any(|reader| std::ptr::eq(reader.container, container))
    }
}

/// Init containers, then containers, without podkey's own.
fn authors_containers<'s>(pod: &'s Pod<'s>) -> impl Iterator<Item = Reader<'s>> {
    let place = |list| move |(index, container)| Reader { list, index, container };
    let init = pod.init_containers().iter().enumerate();
    let main = pod.spec.containers.iter().enumerate();
    init.map(place(ContainerList::Init))
        .chain(main.map(place(ContainerList::Main)))
        .filter(|reader| !names::is_own(&reader.container.name))
}

/// The user that reads the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderUser {
    /// One user that is not root. podkey's containers run as this user, and only this user can read the files.
    One(i64),
    /// Root. Root reads files of other users, unless the container gave that capability up.
    Root { reads_all: bool },
    /// The pod declares no user, or the readers have several.
    Unknown,
}

impl ReaderUser {
    pub(super) fn of(pod: &Pod<'_>, readers: &[Reader<'_>]) -> Self {
        let assumed = pod.is_runner().then_some(RUNNER_UID);
        let mut users = readers.iter().map(|reader| {
            let own = reader.container.run_as_user();
            own.or_else(|| pod.run_as_user()).or(assumed)
        });
        let Some(Some(first)) = users.next() else {
            return Self::Unknown;
        };
        if users.any(|user| user != Some(first)) {
            return Self::Unknown;
        }
        match first {
            0 => Self::Root {
                reads_all: readers.iter().all(|reader| !reader.container.drops_dac_override()),
            },
            uid if uid > 0 => Self::One(uid),
            // Not a user. The API server will refuse the pod for it; podkey's container must not repeat the mistake.
            _ => Self::Unknown,
        }
    }

    /// The user of podkey's containers. `configured` is the operator's choice.
    pub(super) fn run_as(self, configured: Option<i64>) -> Option<i64> {
        match self {
            Self::One(uid) => Some(uid),
            Self::Root { .. } | Self::Unknown => configured,
        }
    }

    /// The mode of a file for which the author named no mode.
    pub(super) fn default_mode(self, pod: &Pod<'_>) -> Mode {
        match self {
            Self::One(_) | Self::Root { reads_all: true } => Mode::OWNER,
            Self::Root { reads_all: false } | Self::Unknown => Self::mode_for_others(pod),
        }
    }

    /// The mode of the file that holds the client token. `owner`: the user of podkey's containers, whom `agent-run-as-user` may make
    /// another user than the one that reads.
    pub(super) fn token_mode(self, pod: &Pod<'_>, owner: Option<i64>) -> Mode {
        match self {
            Self::One(uid) if owner != Some(uid) => Self::mode_for_others(pod),
            _ => self.default_mode(pod),
        }
    }

    /// The mode of a file that another user than its owner reads.
    fn mode_for_others(pod: &Pod<'_>) -> Mode {
        match pod.fs_group() {
            Some(_) => Mode::GROUP,
            None => Mode::ALL,
        }
    }

    /// The user as the job hooks need it: one user that can clear all files. None: there is no such user.
    pub(crate) fn for_job_hooks(self) -> Option<u32> {
        match self {
            Self::One(uid) => u32::try_from(uid).ok(),
            Self::Root { reads_all } => reads_all.then_some(0),
            Self::Unknown => None,
        }
    }
}
