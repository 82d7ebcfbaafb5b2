//! The mounts of podkey's volumes in the author's containers.

use std::borrow::Cow;

use serde::Serialize;

use crate::inject::pod::{Container, VolumeMount};
use crate::inject::request::InjectionRequest;
use crate::inject::survey::{FileAccess, Survey};
use crate::inject::words::names::{BIN_VOLUME, SECRETS_VOLUME};
use crate::plan::{BIN_DIR, Destination, FILES_DIR, SECRETS_DIR, SINGLE_DIR};

/// A mount of one of podkey's volumes, as the patch has it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddedMount<'r> {
    #[serde(rename = "mountPath")]
    pub(crate) path: &'r str,
    #[serde(rename = "name")]
    pub(crate) volume: &'static str,
    #[serde(
        rename = "readOnly",
        skip_serializing_if = "is_writable",
        serialize_with = "read_only"
    )]
    pub(crate) access: FileAccess,
    /// Always set for `podkey-secrets`: an author's container never sees the volume's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sub_path: Option<Cow<'r, str>>,
}

fn is_writable(access: &FileAccess) -> bool {
    *access == FileAccess::Write
}

fn read_only<S: serde::Serializer>(access: &FileAccess, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(*access == FileAccess::Read)
}

/// The mounts of the files in a reader that only reads: one mount for all relative files and the values of variables, and one for
/// each absolute file.
pub(crate) fn of_files<'r>(request: &'r InjectionRequest, survey: &Survey<'_>) -> Vec<AddedMount<'r>> {
    let mount = |path, sub_path| AddedMount {
        volume: SECRETS_VOLUME,
        path,
        sub_path: Some(sub_path),
        access: FileAccess::Read,
    };
    let is_relative = |file: &Destination| !matches!(file, Destination::Absolute(_));
    let files = || request.files.iter().map(|file| &file.file);
    // The job hooks find there which values of a template to mask.
    let mut templates = request.files.iter().filter(|file| file.content.is_template_of_init());
    let has_printed = survey.job_hooks.are_on() && templates.next().is_some();
    let has_directory = request.has_variables() || has_printed || files().any(is_relative);
    let directory = has_directory.then(|| mount(SECRETS_DIR, Cow::Borrowed(FILES_DIR)));
    let single = files().enumerate().filter_map(|(index, file)| match file {
        Destination::Absolute(path) => Some(mount(path, Cow::Owned(file.place(index)))),
        Destination::Relative(_) | Destination::EachField(_) => None,
    });
    directory.into_iter().chain(single).collect()
}

/// The mount of the agent in a container that uses the agent.
pub(super) fn of_agent() -> AddedMount<'static> {
    AddedMount {
        volume: BIN_VOLUME,
        path: BIN_DIR,
        sub_path: None,
        access: FileAccess::Read,
    }
}

impl AddedMount<'_> {
    /// The place of the mount: path, and path inside the volume.
    pub(crate) fn place(&self) -> (&str, Option<&str>) {
        (self.path, self.sub_path.as_deref())
    }

    /// Whether the container has this mount already, with such access.
    pub(super) fn is_in(&self, container: &Container<'_>, access: FileAccess) -> bool {
        container.volume_mounts.iter().flatten().any(|present| {
            present.name == self.volume
                && self.place() == (&*present.mount_path, present.sub_path.as_deref())
                // `check::mounts` refuses a mount that is writable, but must be read-only.
                && (access == FileAccess::Read || !present.is_read_only())
        })
    }
}

/// Whether a mount of `podkey-secrets` could be podkey's: not the volume's root, and read-only unless the container may write.
pub(crate) fn may_be_ours(mount: &VolumeMount<'_>, access: FileAccess) -> bool {
    let is_below = |directory: &str, path: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    (access == FileAccess::Write || mount.is_read_only())
        && mount
            .sub_path
            .as_deref()
            .is_some_and(|path| path == FILES_DIR || is_below(FILES_DIR, path) || is_below(SINGLE_DIR, path))
}
