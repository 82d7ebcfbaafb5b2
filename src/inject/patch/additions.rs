//! What each reader still lacks: mounts of podkey's volumes, variables, the agent in front of its command; and what it already has
//! at the places where those would go.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::inject::check::exec;
use crate::inject::check::hooks;
use crate::inject::patch::parts::{Access, BIN_VOLUME, Mount, Tool};
use crate::inject::pod::readers::Reader;
use crate::inject::pod::{Pod, Variables};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::request::files::FileRequest;
use crate::inject::request::keys::{ENV, JOB_HOOKS};
use crate::plan::{self, Destination, Select};

/// What a reader still lacks.
#[derive(Debug, Default)]
pub(crate) struct Additions {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) env: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// What is to stand in front of its command.
    pub(crate) command: &'static [&'static str],
}

impl Additions {
    /// About how long they are in the patch.
    pub(crate) fn bytes(&self) -> usize {
        /// The operation and the names of the fields.
        const FRAME: usize = 160;
        let mounts = self.mounts.iter().map(|mount| mount.path.len() + FRAME);
        let env = self.env.iter().map(|(name, value)| name.len() + value.len() + FRAME);
        let command = self.command.iter().map(|word| word.len() + FRAME);
        mounts.chain(env).chain(command).sum()
    }
}

impl Reader<'_, '_> {
    /// What must be added to this container, and every reason why it cannot be.
    pub(crate) fn additions(
        &self,
        read_only: &BTreeSet<&str>,
        tool: Tool,
        request: &InjectionRequest,
        mounts: Vec<Mount>,
        problems: &mut Problems,
    ) -> Additions {
        let files = &request.files;
        let mut additions = Additions::default();
        let places = self.places(read_only);
        for mount in mounts {
            if !self.has(&mount) && self.check_mount(&places, files, tool, &mount, problems) {
                additions.mounts.push(mount);
            }
        }
        let present = self.present(tool, request);
        for file in files {
            let Some(name) = &file.env else { continue };
            let value = file.file.path();
            match present.get(name.as_str()) {
                None => additions.env.push((name.clone().into(), value.into_owned().into())),
                Some(var) if var.value_from.is_none() && var.value.as_deref() == Some(&*value) => {}
                Some(_) => problems.push_with(|| {
                    let container = quoted(&self.container.name);
                    (
                        format!("{}.env", file.place()),
                        format!(
                            "the container {container} sets {name} itself to something else: remove it there, or here"
                        ),
                    )
                }),
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

    /// What the container has mounted, each place read once.
    fn places<'s>(&'s self, read_only: &BTreeSet<&str>) -> Vec<Place<'s>> {
        let mounts = self.container.volume_mounts.iter().flatten().map(|mount| Place {
            path: normalized(&mount.mount_path),
            what: match mount.read_only == Some(true) || read_only.contains(&*mount.name) {
                true => Occupied::ReadOnly(&mount.name),
                false => Occupied::Writable(&mount.name),
            },
        });
        let devices = self.container.volume_devices.iter().flatten().map(|device| Place {
            path: normalized(&device.device_path),
            what: Occupied::Device,
        });
        mounts.chain(devices).collect()
    }

    /// Those of its variables that podkey's are compared with.
    fn present(&self, tool: Tool, request: &InjectionRequest) -> Variables<'_> {
        let files = request.files.iter().filter_map(|file| file.env.as_deref());
        let exported = request.env.iter().filter_map(|env| match &env.select {
            Select::Value { name, .. } if tool == Tool::Exec => Some(name.as_str()),
            _ => None,
        });
        let hooks = hooks::HOOK_VARIABLES.into_iter().filter(|_| tool == Tool::Hooks);
        let wanted: BTreeSet<&str> = files.chain(exported).chain(hooks).collect();
        match wanted.is_empty() {
            true => Variables::new(),
            false => self.container.variables(|var| wanted.contains(&*var.name)),
        }
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
        places: &[Place<'_>],
        files: &[FileRequest],
        tool: Tool,
        mount: &Mount,
        problems: &mut Problems,
    ) -> bool {
        let before = problems.len();
        for place in places {
            // The pod is refused anyway, and its lists multiply.
            if problems.is_full() {
                return false;
            }
            let hides = plan::contains(&mount.path, &place.path);
            let is_below = plan::contains(&place.path, &mount.path);
            let (path, container) = (|| quoted(&place.path), || quoted(&self.container.name));
            let why = match place.what {
                Occupied::Writable(volume) | Occupied::ReadOnly(volume) if hides && is_below => {
                    let volume = quoted(volume);
                    format!("is where the container {} has the volume {volume} mounted", container())
                }
                Occupied::Writable(_) | Occupied::ReadOnly(_) if hides => {
                    format!("would hide {}, which the container {} has mounted", path(), container())
                }
                Occupied::ReadOnly(_) if is_below => format!(
                    "is below {}, which the container {} has mounted read-only: nothing can be mounted in it",
                    path(),
                    container()
                ),
                Occupied::Device if hides || is_below => {
                    format!(
                        "is in conflict with the device {} of the container {}",
                        path(),
                        container()
                    )
                }
                _ => continue,
            };
            let (key, what) = written(files, tool, mount);
            problems.push(key, format!("{what} {why}"));
        }
        before == problems.len()
    }
}

/// Where the author wrote what the mount is for, and how he wrote it.
fn written(files: &[FileRequest], tool: Tool, mount: &Mount) -> (String, String) {
    // He wrote a file; the directory's mount stands for the first of the relative ones, or for variables.
    let file = files.iter().find(|file| plan::contains(&mount.path, &file.file.path()));
    let key = match file {
        Some(file) => format!("{}.file", file.place()),
        None if mount.volume == BIN_VOLUME && tool == Tool::Hooks => JOB_HOOKS.to_owned(),
        None => ENV.to_owned(),
    };
    let what = match file.map(|file| &file.file) {
        Some(Destination::Relative(name)) => format!("{} goes below {}, which", quoted(name), quoted(&mount.path)),
        _ => quoted(&mount.path),
    };
    (key, what)
}

/// A place that the container has something at already.
struct Place<'m> {
    path: String,
    what: Occupied<'m>,
}

enum Occupied<'m> {
    /// By a mount of this volume.
    Writable(&'m str),
    /// Likewise, and nothing can be created in it, not even a mount point.
    ReadOnly(&'m str),
    Device,
}

/// The names of the pod's volumes that nobody can write to.
pub(crate) fn read_only_volumes<'p>(pod: &'p Pod<'_>) -> BTreeSet<&'p str> {
    let volumes = pod.spec.volumes.iter().flatten();
    volumes
        .filter(|volume| volume.is_read_only())
        .map(|volume| &*volume.name)
        .collect()
}

/// A path of the pod's as the kubelet and Linux read it: absolute, no double or final slashes, no `.` and `..`.
pub(crate) fn normalized(path: &str) -> String {
    let mut normal = String::with_capacity(path.len() + 1);
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => normal.truncate(normal.rfind('/').unwrap_or(0)),
            segment => {
                normal.push('/');
                normal.push_str(segment);
            }
        }
    }
    if normal.is_empty() {
        normal.push('/');
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_linux_reads_them() {
        for (written, read) in [
            ("/a/b", "/a/b"),
            ("a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../..", "/"),
            ("", "/"),
            ("/", "/"),
            ("/..a/b..", "/..a/b.."),
        ] {
            assert_eq!(normalized(written), read, "{written}");
        }
    }
}
