//! The readers: those of the pod's containers that get the files, what they already have at the places where ours would go,
//! and which user reads.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::annotations::InjectionRequest;
use super::exec;
use super::files::FileRequest;
use super::hooks::{self, RUNNER};
use super::keys::{CONTAINERS, ENV, JOB_HOOKS};
use super::parts::{self, Access, BIN_VOLUME, Mount, Tool};
use super::pod::{Container, Pod};
use super::problem::{Problems, did_you_mean, quoted};
use crate::plan::{self, Destination, Mode};

/// A container that gets the files.
pub(super) struct Reader<'p, 'a> {
    /// Where it stands in the pod, as a JSON Pointer: `/spec/containers/0`.
    pub(super) pointer: String,
    pub(super) container: &'p Container<'a>,
}

/// Containers that carry the pod's traffic and run no work of the author's.
pub(super) const MESH_SIDECARS: [&str; 2] = ["istio-proxy", "linkerd-proxy"];

/// The user whom a runner pod's image runs as (<https://github.com/actions/runner>, images/Dockerfile).
const RUNNER_UID: i64 = 1001;

/// Picks the readers: those the author named, else those that the kind of pod implies.
pub(super) fn choose<'p, 'a>(
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
    match (named, implied) {
        (Some(names), _) => names
            .iter()
            .filter_map(|name| {
                let found = find(name);
                if found.is_none() {
                    let hint = did_you_mean(name, all.iter().map(|(_, container)| container.name.as_ref()));
                    problems.push(CONTAINERS, format!("the pod has no container {}{hint}", quoted(name)));
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
pub(super) enum ReaderUser {
    /// One user that is not root: podkey's containers run as the same, and the files are for it alone.
    One(i64),
    /// Root: may read what others own, unless it gave that capability up.
    Root { reads_all: bool },
    /// Not declared, or several.
    Unknown,
}

impl ReaderUser {
    pub(super) fn of(pod: &Pod<'_>, readers: &[Reader<'_, '_>]) -> Self {
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
    pub(super) fn run_as(self, else_as: Option<i64>) -> Option<i64> {
        match self {
            Self::One(uid) => Some(uid),
            Self::Root { .. } | Self::Unknown => else_as,
        }
    }

    /// The mode of a file for which the author named none.
    pub(super) fn default_mode(self, pod: &Pod<'_>) -> Mode {
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
    dropped.into_iter().flatten().any(|cap| {
        let cap = cap.to_ascii_uppercase();
        cap == "ALL" || cap.trim_start_matches("CAP_") == "DAC_OVERRIDE"
    })
}

/// What a reader still lacks.
#[derive(Debug, Default)]
pub(super) struct Additions {
    pub(super) mounts: Vec<Mount>,
    pub(super) env: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// What is to stand in front of its command.
    pub(super) command: &'static [&'static str],
}

impl Reader<'_, '_> {
    /// What must be added to this container, and every reason why it cannot be.
    pub(super) fn additions(
        &self,
        read_only: &BTreeSet<&str>,
        tool: Tool,
        request: &InjectionRequest,
        mounts: Vec<Mount>,
        problems: &mut Problems,
    ) -> Additions {
        let files = &request.files;
        let mut additions = Additions::default();
        let present = self.container.volume_mounts.iter().flatten();
        let present: Vec<_> = present
            .map(|mount| Present {
                path: normalized(&mount.mount_path),
                volume: &mount.name,
                read_only: mount.read_only == Some(true) || read_only.contains(&*mount.name),
            })
            .collect();
        for mount in mounts {
            if !self.has(&mount) && self.check_mount(&present, files, tool, &mount, problems) {
                additions.mounts.push(mount);
            }
        }
        let present = if tool != Tool::None || files.iter().any(|file| file.env.is_some()) {
            self.container.env()
        } else {
            Vec::new()
        };
        for file in files {
            let Some(name) = &file.env else { continue };
            let value = file.file.path();
            // Of two entries with one name Kubernetes uses the last.
            match present.iter().rfind(|var| var.name == *name) {
                None => additions.env.push((name.clone().into(), value.into_owned().into())),
                Some(var) if var.value_from.is_none() && var.value.as_deref() == Some(&*value) => {}
                Some(_) => problems.push(
                    format!("{}.env", file.place()),
                    format!(
                        "the container {} sets {name} itself to something else: remove it there, or here",
                        quoted(&self.container.name)
                    ),
                ),
            }
        }
        match tool {
            Tool::None => {}
            Tool::Hooks => {
                let missing = hooks::variables(self.container, &present);
                additions
                    .env
                    .extend(missing.map(|(name, value)| (name.into(), value.into())));
            }
            Tool::Exec => {
                exec::check_env(self.container, &present, request, problems);
                additions.command = exec::words(self.container, problems);
            }
        }
        additions
    }

    fn has(&self, mount: &Mount) -> bool {
        self.container.volume_mounts.iter().flatten().any(|present| {
            present.name == mount.volume
                && present.mount_path == mount.path
                && present.sub_path.as_deref() == mount.sub_path.as_deref()
                // One that is writable where it should not be is told of elsewhere.
                && (mount.access == Access::Read || present.read_only != Some(true))
        })
    }

    /// Whether the mount can be added; if not, says why.
    fn check_mount(
        &self,
        present: &[Present<'_>],
        files: &[FileRequest],
        tool: Tool,
        mount: &Mount,
        problems: &mut Problems,
    ) -> bool {
        // The author wrote a file; the directory's mount stands for the first of the relative ones, or for variables.
        let file = files.iter().find(|file| plan::contains(&mount.path, &file.file.path()));
        let place = || match file {
            Some(file) => format!("{}.file", file.place()),
            None if mount.volume == BIN_VOLUME && tool == Tool::Hooks => JOB_HOOKS.to_owned(),
            None => ENV.to_owned(),
        };
        let what = || match file.map(|file| &file.file) {
            Some(Destination::Relative(name)) => format!("{} goes below {}, which", quoted(name), quoted(&mount.path)),
            _ => quoted(&mount.path),
        };
        let container = || quoted(&self.container.name);
        let before = problems.len();
        for Present {
            path,
            volume,
            read_only,
        } in present
        {
            if mount.path == *path {
                problems.push(
                    place(),
                    format!(
                        "{} is where the container {} has the volume {} mounted",
                        what(),
                        container(),
                        quoted(volume)
                    ),
                );
            } else if plan::contains(&mount.path, path) {
                problems.push(
                    place(),
                    format!(
                        "{} would hide {}, which the container {} has mounted",
                        what(),
                        quoted(path),
                        container()
                    ),
                );
            } else if *read_only && plan::contains(path, &mount.path) {
                problems.push(
                    place(),
                    format!(
                        "{} is below {}, which the container {} has mounted read-only: nothing can be mounted in it",
                        what(),
                        quoted(path),
                        container()
                    ),
                );
            }
        }
        for device in self.container.volume_devices.iter().flatten() {
            let path = normalized(&device.device_path);
            if plan::contains(&mount.path, &path) || plan::contains(&path, &mount.path) {
                problems.push(
                    place(),
                    format!(
                        "{} is in conflict with the device {} of the container {}",
                        what(),
                        quoted(&path),
                        container()
                    ),
                );
            }
        }
        before == problems.len()
    }
}

/// A mount that the container has already.
struct Present<'m> {
    path: String,
    volume: &'m str,
    /// Nothing can be created in it, not even a mount point.
    read_only: bool,
}

/// The names of the pod's volumes that nobody can write to.
pub(super) fn read_only_volumes<'p>(pod: &'p Pod<'_>) -> BTreeSet<&'p str> {
    let volumes = pod.spec.volumes.iter().flatten();
    volumes
        .filter(|volume| volume.is_read_only())
        .map(|volume| &*volume.name)
        .collect()
}

/// A mount path of the pod's as the kubelet and Linux read it: absolute, no double or final slashes, no `.` and `..`.
fn normalized(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}
