//! What each reader still lacks: mounts of podkey's volumes, variables, the agent in front of its command; and what it already has
//! at the places where those would go.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::files::FileRequest;
use super::keys::{ENV, JOB_HOOKS};
use super::parts::{Access, BIN_VOLUME, Mount, Tool};
use super::pod::Pod;
use super::problem::{Problems, quoted};
use super::readers::Reader;
use super::request::InjectionRequest;
use super::{exec, hooks};
use crate::plan::{self, Destination};

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
