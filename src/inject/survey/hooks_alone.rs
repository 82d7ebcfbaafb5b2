//! Whether a pod needs no `podkey-init`: the job reads every secret, and the job hooks can write every file.

use super::JobHooks;
use super::readers::{ReaderUser, Readers};
use crate::inject::pod::path::normalized;
use crate::inject::pod::{Container, Pod, VolumeMount};
use crate::inject::request::{Freshness, InjectionRequest};
use crate::plan::{self, Destination, LINKS_ROOT};

/// The most bytes of annotations to which podkey adds a plan. All annotations of a pod together have at most 256 KiB
/// (`TotalAnnotationSizeLimitB` in `k8s.io/apimachinery/pkg/api/validation`), and a plan at most 96 KiB.
const MAX_ANNOTATION_BYTES: usize = 128 * 1024;

/// Whether the job hooks are enough, in a pod to which the agent comes with its image.
pub(super) fn are_enough(
    pod: &Pod<'_>,
    request: &InjectionRequest,
    readers: &Readers<'_>,
    user: ReaderUser,
    job_hooks: JobHooks<'_>,
) -> bool {
    let (Some(runner), Some(user)) = (job_hooks.runner(), user.for_job_hooks()) else {
        return false;
    };
    let annotations = pod
        .metadata
        .annotations
        .as_ref()
        .map_or(0, |annotations| annotations.bytes);
    request.only_job_reads()
        && request.freshness() == Freshness::WrittenOnce
        && request.token_file.is_none()
        && !request.files_are_incomplete
        && readers.contain(runner)
        && annotations <= MAX_ANNOTATION_BYTES + pod.plan_annotation().map_or(0, str::len)
        && request.files.iter().all(|file| match &file.file {
            // The hooks make a symlink, which no other container of the pod sees.
            absolute @ Destination::Absolute(path) => {
                absolute.may_be_linked() && readers.found.len() == 1 && can_be_linked(pod, runner, user, path)
            }
            Destination::Relative(_) => true,
            Destination::EachField(_) | Destination::InDirectory { .. } => false,
        })
}

/// Whether the hooks of this user can make a symlink at the path in the container, and every user of the container can follow the
/// symlink. Where this is not known, the answer is no.
fn can_be_linked(pod: &Pod<'_>, container: &Container<'_>, user: u32, path: &str) -> bool {
    let mounts = || container.volume_mounts.iter().flatten();
    let around = mounts()
        .map(|mount| (mount, normalized(&mount.mount_path)))
        .filter(|(_, mounted)| plan::contains(mounted, path))
        .max_by_key(|(_, mounted)| mounted.len());
    let (place, directory) = match &around {
        None if container.has_read_only_root() => return false,
        None => (LINKS_ROOT, Directory::Sticky),
        Some((mount, mounted)) => match Directory::of(pod, mount) {
            Some(directory) => (&**mounted, directory),
            None => return false,
        },
    };
    let Some(below) = path.strip_prefix(place).and_then(|rest| rest.strip_prefix('/')) else {
        return false;
    };
    let first = below.split_once('/').map(|(first, _)| first);
    // The runtime makes the directories above a mount, and they are root's.
    let top = format!("{place}/{}", first.unwrap_or(below));
    let is_free = !mounts().any(|mount| plan::contains(&top, &normalized(&mount.mount_path)));
    let everybody_follows = first.is_some() || directory == Directory::Open || user == 0;
    is_free && everybody_follows
}

/// A directory in which every user can make files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directory {
    /// Mode 0777.
    Open,
    /// Mode 1777, and root's, as `/tmp` is. With `fs.protected_symlinks=1`, which is usual, a symlink in the directory is followed only
    /// for the owner of the symlink, not even for root, unless the owner of the directory also owns the symlink
    /// (<https://docs.kernel.org/admin-guide/sysctl/fs.html#protected-symlinks>, `may_follow_link` in Linux' `fs/namei.c`).
    Sticky,
}

impl Directory {
    /// The directory that the container has mounted here. An `emptyDir` has mode 0777 on the disk and mode 1777 in memory
    /// (`setupDir` in `pkg/volume/emptydir` of Kubernetes). None: perhaps not every user can make files there.
    fn of(pod: &Pod<'_>, mount: &VolumeMount<'_>) -> Option<Self> {
        let volume = pod.volumes().iter().find(|volume| volume.name == mount.name)?;
        let empty_dir = volume.empty_dir.as_ref()?;
        if mount.is_read_only() || mount.sub_path.is_some() || empty_dir.mode.is_some() {
            return None;
        }
        match empty_dir.medium.as_deref() {
            None | Some("") => Some(Self::Open),
            Some(_) => Some(Self::Sticky),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(mut object: Value, more: &Value) -> Value {
        let more = more.as_object().unwrap().clone();
        object.as_object_mut().unwrap().extend(more);
        object
    }

    fn links(user: u32, path: &str, container: &Value, volume: &Value) -> bool {
        let runner = with(json!({"name": "runner"}), container);
        let volume = with(json!({"name": "tmp"}), volume);
        let pod = json!({"metadata": {}, "spec": {"containers": [runner], "volumes": [volume]}}).to_string();
        let pod = Pod::parse(&pod).unwrap();
        let runner = pod.all_containers().next().unwrap();
        can_be_linked(&pod, runner, user, path)
    }

    #[test]
    fn a_symlink_is_made_where_the_hooks_can_make_one_and_every_user_can_follow() {
        let disk = json!({"emptyDir": {}});
        let memory = json!({"emptyDir": {"medium": "Memory"}});
        let claim = json!({"persistentVolumeClaim": {"claimName": "tmp"}});
        let nothing = json!({});
        let closed = json!({"securityContext": {"readOnlyRootFilesystem": true}});
        let at = |path: &str| json!({"volumeMounts": [{"name": "tmp", "mountPath": path}]});
        let mounted = |more: &str, value: Value| {
            let mut container = at("/tmp");
            container["volumeMounts"][0][more] = value;
            container
        };
        let mut closed_but_tmp = at("/tmp/");
        closed_but_tmp["securityContext"] = closed["securityContext"].clone();
        for (user, path, container, volume, expected) in [
            // The sticky bit of /tmp.
            (1001, "/tmp/kubeconfig", &nothing, &disk, false),
            (1001, "/tmp/kube/config", &nothing, &disk, true),
            (0, "/tmp/kubeconfig", &nothing, &disk, true),
            (1001, "/tmp/kubeconfig", &at("/tmp"), &disk, true),
            (1001, "/tmp/kubeconfig", &at("/tmp"), &memory, false),
            (1001, "/tmp/kube/config", &at("/tmp"), &memory, true),
            (0, "/tmp/kubeconfig", &at("/tmp"), &memory, true),
            (
                1001,
                "/tmp/kubeconfig",
                &at("/tmp"),
                &json!({"emptyDir": {"mode": 1023}}),
                false,
            ),
            // Where the user may not write.
            (1001, "/tmp/kube/config", &closed, &disk, false),
            (0, "/tmp/kube/config", &closed, &disk, false),
            (1001, "/tmp/kube/config", &closed_but_tmp, &disk, true),
            (1001, "/tmp/kube/config", &at("/tmp"), &claim, false),
            (
                1001,
                "/tmp/kube/config",
                &mounted("readOnly", json!(true)),
                &disk,
                false,
            ),
            (1001, "/tmp/kube/config", &mounted("subPath", json!("x")), &disk, false),
            // A mount at, below and beside the file.
            (1001, "/tmp/kube/config", &at("/tmp/kube/config"), &disk, false),
            (1001, "/tmp/kube/config", &at("/tmp/kube/config/x"), &disk, false),
            (1001, "/tmp/kube/config", &at("/tmp/kube/cache"), &disk, false),
            (1001, "/tmp/kube/config", &at("/tmp/kube"), &disk, true),
            (1001, "/tmp/kube/config", &at("/tmp/kube2"), &disk, true),
        ] {
            assert_eq!(
                links(user, path, container, volume),
                expected,
                "{user} {path} {container} {volume}"
            );
        }
    }
}
