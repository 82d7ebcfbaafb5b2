//! The readers: those of the pod's containers that get the files, and which user reads.

use crate::inject::patch::parts;
use crate::inject::pod::{Container, Pod, RUNNER};
use crate::inject::problem::{Problems, did_you_mean, quoted};
use crate::inject::request::keys::CONTAINERS;
use crate::plan::Mode;

/// A container that gets the files.
pub(crate) struct Reader<'p, 'a> {
    /// Where it stands in the pod, as a JSON Pointer: `/spec/containers/0`.
    pub(crate) pointer: String,
    pub(crate) container: &'p Container<'a>,
}

/// Containers that carry the pod's traffic and run no work of the author's.
pub(crate) const MESH_SIDECARS: [&str; 2] = ["istio-proxy", "linkerd-proxy"];

/// The most names, those of the annotation together, that are looked at for the nearest.
const MAX_HINTS: usize = 256;

/// The user whom a runner pod's image runs as (<https://github.com/actions/runner>, images/Dockerfile).
const RUNNER_UID: i64 = 1001;

/// Picks the readers: those the author named, else those that the kind of pod implies.
pub(crate) fn choose<'p, 'a>(
    pod: &'p Pod<'a>,
    named: Option<&[String]>,
    problems: &mut Problems,
) -> Vec<Reader<'p, 'a>> {
    let init = pod
        .spec
        .init_containers
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, container)| (format!("/spec/initContainers/{index}"), container));
    let main = pod
        .spec
        .containers
        .iter()
        .enumerate()
        .map(|(index, container)| (format!("/spec/containers/{index}"), container));
    let all: Vec<_> = init
        .chain(main)
        .filter(|(_, container)| !parts::is_own(container))
        .collect();
    let find = |name: &str| all.iter().find(|(_, container)| container.name == name).cloned();
    let reader = |(pointer, container)| Reader { pointer, container };

    let implied = if pod.is_runner() {
        Some((RUNNER, "a runner pod"))
    } else if pod.is_workflow() {
        Some(("job", "a pod of a job in ARC's kubernetes mode"))
    } else {
        None
    };
    // Each of the names is compared with each of the pod's.
    let mut hints = MAX_HINTS;
    match (named, implied) {
        (Some(names), _) => names
            .iter()
            .filter_map(|name| {
                let found = find(name);
                if found.is_none() {
                    problems.push_with(|| {
                        let candidates = all.iter().map(|(_, container)| container.name.as_ref());
                        let hint = did_you_mean(name, candidates.take(hints));
                        hints = hints.saturating_sub(all.len());
                        (CONTAINERS, format!("the pod has no container {}{hint}", quoted(name)))
                    });
                }
                found
            })
            .map(reader)
            .collect(),
        (None, Some((name, kind))) => match find(name) {
            Some(found) => vec![reader(found)],
            None => {
                problems.push(
                    CONTAINERS,
                    format!("is needed: this is {kind}, but it has no container {name:?}"),
                );
                Vec::new()
            }
        },
        (None, None) => {
            let readers: Vec<_> = all
                .into_iter()
                .filter(|(pointer, container)| {
                    pointer.starts_with("/spec/containers/") && !MESH_SIDECARS.contains(&&*container.name)
                })
                .map(reader)
                .collect();
            if readers.is_empty() {
                problems.push(CONTAINERS, "is needed: the pod has no container but a mesh's sidecar");
            }
            readers
        }
    }
}

/// Which user reads the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderUser {
    /// One user that is not root: podkey's containers run as the same, and the files are for it alone.
    One(i64),
    /// Root: may read what others own, unless it gave that capability up.
    Root { reads_all: bool },
    /// Not declared, or several.
    Unknown,
}

impl ReaderUser {
    pub(crate) fn of(pod: &Pod<'_>, readers: &[Reader<'_, '_>]) -> Self {
        let pod_uid = pod
            .spec
            .security_context
            .as_ref()
            .and_then(|context| context.run_as_user);
        let assumed = pod.is_runner().then_some(RUNNER_UID);
        let mut uids = readers.iter().map(|reader| {
            let own = reader
                .container
                .security_context
                .as_ref()
                .and_then(|context| context.run_as_user);
            own.or(pod_uid).or(assumed)
        });
        let Some(Some(first)) = uids.next() else {
            return Self::Unknown;
        };
        if uids.any(|uid| uid != Some(first)) {
            return Self::Unknown;
        }
        match first {
            0 => Self::Root {
                reads_all: readers.iter().all(|reader| !drops_dac_override(reader.container)),
            },
            uid if uid > 0 => Self::One(uid),
            // No user: the API server will refuse the pod for it, and should not find it in our container too.
            _ => Self::Unknown,
        }
    }

    /// The user whom podkey's containers run as; `else_as` is the operator's choice.
    pub(crate) fn run_as(self, else_as: Option<i64>) -> Option<i64> {
        match self {
            Self::One(uid) => Some(uid),
            Self::Root { .. } | Self::Unknown => else_as,
        }
    }

    /// The mode of a file for which the author named none.
    pub(crate) fn default_mode(self, pod: &Pod<'_>) -> Mode {
        let fs_group = pod.spec.security_context.as_ref().and_then(|context| context.fs_group);
        match self {
            Self::One(_) | Self::Root { reads_all: true } => Mode::OWNER,
            Self::Root { reads_all: false } | Self::Unknown if fs_group.is_some() => Mode::GROUP,
            Self::Root { reads_all: false } | Self::Unknown => Mode::ALL,
        }
    }
}

/// Root without CAP_DAC_OVERRIDE reads another user's 0400 file no more than anybody else.
fn drops_dac_override(container: &Container<'_>) -> bool {
    let dropped = container
        .security_context
        .as_ref()
        .and_then(|context| context.capabilities.as_ref())
        .and_then(|caps| caps.drop.as_ref());
    dropped.is_some_and(|dropped| dropped.dac_override)
}
