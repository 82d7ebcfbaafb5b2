//! Mounts of podkey's volumes that the pod has before the patch. A template may name the volumes before they exist.
//!
//! No container but podkey's own may see the service-account token, the handover, or the root of `podkey-secrets`. No container may
//! write to files that another container reads; only the runner may write, whose job hooks clear the files. No container may write
//! to the agent, and only a container that uses the agent may mount it. A file may be mounted at its destination only: the checks of
//! destinations do not cover other paths.

use std::collections::BTreeSet;

use crate::inject::parts::mounts::{AddedMount, is_state, may_be_ours};
use crate::inject::pod::runner::RUNNER;
use crate::inject::pod::{Container, VolumeMount};
use crate::inject::problem::{Problems, quoted};
use crate::inject::survey::{AgentUse, FileAccess, Survey};
use crate::inject::words::names::{BIN_VOLUME, ENV_VOLUME, HANDOVER_VOLUME, PLAN_VOLUME, SECRETS_VOLUME, TOKEN_VOLUME};
use crate::plan::{Binary, FILES_DIR, MOUNTS_DIR, SINGLE_DIR};

/// `file_mounts` are the mounts that podkey makes for the request. None: the request did not parse, so nobody knows them.
pub(super) fn check(survey: &Survey<'_>, file_mounts: Option<&[AddedMount<'_>]>, problems: &mut Problems) {
    let made: Option<BTreeSet<_>> = file_mounts.map(|mounts| mounts.iter().map(AddedMount::place).collect());
    let is_made = |mount: &VolumeMount<'_>| {
        let place = (&*mount.mount_path, mount.sub_path.as_deref());
        made.as_ref().is_none_or(|made| made.contains(&place))
    };
    for container in survey.pod.authors_containers() {
        let uses_agent = survey.agent_use_of(container) != AgentUse::None;
        for mount in container.volume_mounts.iter().flatten() {
            if let Some(wrong) = wrong_mount(survey, container, uses_agent, mount, &is_made) {
                problems.push_with(|| {
                    let (container, volume) = (quoted(&container.name), &mount.name);
                    let why = wrong.words(mount);
                    (
                        "spec.containers",
                        format!("the container {container} mounts {volume}{why}: remove the mount"),
                    )
                });
            }
        }
    }
}

/// Why a container may not have a mount.
enum WrongMount {
    /// The volume is for podkey's own containers.
    PodkeysOwn,
    /// The mount of `podkey-secrets` is writable, or not below a directory of files.
    WritableOrRoot,
    /// The mount of `podkey-secrets` is not at the destination of a file.
    NoDestination,
    /// The container does not use the agent.
    NotTheRunner,
    /// The mount of `podkey-bin` is writable.
    WritableAgent,
}

fn wrong_mount(
    survey: &Survey<'_>,
    container: &Container<'_>,
    uses_agent: bool,
    mount: &VolumeMount<'_>,
    is_made: &impl Fn(&VolumeMount<'_>) -> bool,
) -> Option<WrongMount> {
    match &*mount.name {
        TOKEN_VOLUME | HANDOVER_VOLUME | ENV_VOLUME => Some(WrongMount::PodkeysOwn),
        SECRETS_VOLUME if survey.binary == Binary::ImageVolume && uses_agent && is_state(mount) => None,
        SECRETS_VOLUME if !may_be_here(survey, container, mount) => Some(WrongMount::WritableOrRoot),
        SECRETS_VOLUME if !is_made(mount) => Some(WrongMount::NoDestination),
        BIN_VOLUME | PLAN_VOLUME if !uses_agent => Some(WrongMount::NotTheRunner),
        BIN_VOLUME | PLAN_VOLUME if !mount.is_read_only() => Some(WrongMount::WritableAgent),
        _ => None,
    }
}

/// Whether the container may mount this part of `podkey-secrets`, with such access. Without `podkey-init`, the files are the whole volume.
fn may_be_here(survey: &Survey<'_>, container: &Container<'_>, mount: &VolumeMount<'_>) -> bool {
    let access = survey.access_of(container);
    match survey.hooks_alone {
        true => mount.sub_path.is_none() && (mount.is_read_only() || access == FileAccess::Write),
        false => may_be_ours(mount, access),
    }
}

impl WrongMount {
    /// The middle of the sentence.
    fn words(self, mount: &VolumeMount<'_>) -> String {
        match self {
            Self::PodkeysOwn => ", but the volume is for podkey's own containers alone".to_owned(),
            Self::WritableOrRoot => {
                format!(
                    ", but not read-only and by a subPath below {FILES_DIR}, {SINGLE_DIR} or {MOUNTS_DIR}, as podkey does"
                )
            }
            Self::NoDestination => format!(
                " at {}, but podkey puts no file there, or another file",
                quoted(&mount.mount_path)
            ),
            Self::NotTheRunner => {
                format!(", but the volume is for the job hooks of the container {RUNNER:?} alone")
            }
            Self::WritableAgent => ", but not read-only, as podkey does".to_owned(),
        }
    }
}
