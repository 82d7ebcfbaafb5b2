//! Whether a pod needs no `podkey-init`: the job reads every secret, and the job hooks can write every file.

use super::JobHooks;
use super::readers::{ReaderUser, Readers};
use crate::inject::pod::path::normalized;
use crate::inject::pod::{Container, Pod};
use crate::inject::request::{Freshness, InjectionRequest};
use crate::plan::{self, Destination};

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
    let Some(runner) = job_hooks.runner() else { return false };
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
        && user.for_job_hooks().is_some()
        && annotations <= MAX_ANNOTATION_BYTES + pod.plan_annotation().map_or(0, str::len)
        && request.files.iter().all(|file| match &file.file {
            // The hooks make a symlink, which no other container of the pod sees.
            absolute @ Destination::Absolute(path) => {
                absolute.may_be_linked() && readers.found.len() == 1 && has_room(runner, path)
            }
            Destination::Relative(_) => true,
            Destination::EachField(_) | Destination::InDirectory { .. } => false,
        })
}

/// Whether nothing that the container has mounted is in the way of a symlink.
fn has_room(container: &Container<'_>, path: &str) -> bool {
    let mut mounts = container.volume_mounts.iter().flatten();
    mounts.all(|mount| {
        let mounted = normalized(&mount.mount_path);
        let hides = plan::contains(path, &mounted);
        let is_closed = mount.is_read_only() && plan::contains(&mounted, path);
        !(hides || is_closed)
    })
}
