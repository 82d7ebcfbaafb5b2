//! The mounts of podkey's volumes in the author's containers.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::inject::pod::{Container, VolumeMount};
use crate::inject::request::InjectionRequest;
use crate::inject::survey::{FileAccess, JobHooks};
use crate::inject::words::names::{BIN_VOLUME, PLAN_VOLUME, SECRETS_VOLUME};
use crate::plan::{
    BIN_DIR, Binary, Destination, FILES_DIR, SECRETS_DIR, SINGLE_DIR, STATE_DIR, STATE_PLACE, directory_of_place,
    place_of_directory,
};

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
    /// Set for `podkey-secrets` if the pod has `podkey-init`: an author's container never sees the root of that container's volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sub_path: Option<Cow<'r, str>>,
}

fn is_writable(access: &FileAccess) -> bool {
    *access == FileAccess::Write
}

fn read_only<S: serde::Serializer>(access: &FileAccess, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(*access == FileAccess::Read)
}

/// The mounts of the files in a reader that only reads: one mount for all relative files and the values of variables, one for each
/// directory of its own, and one for each absolute file.
/// `variables_are_files`: see [`Survey::variables_are_files`](crate::inject::survey::Survey::variables_are_files).
pub(crate) fn of_files<'r>(
    request: &'r InjectionRequest,
    job_hooks: JobHooks<'_>,
    variables_are_files: bool,
) -> Vec<AddedMount<'r>> {
    let mount = |path, sub_path| AddedMount {
        volume: SECRETS_VOLUME,
        path,
        sub_path: Some(sub_path),
        access: FileAccess::Read,
    };
    let files = || request.files.iter().map(|file| &file.file);
    // The job hooks find there which values of a template to mask.
    let mut templates = request.files.iter().filter(|file| file.content.is_template_of_init());
    let has_printed = job_hooks.are_on() && templates.next().is_some();
    let has_variables = request.has_variables() && variables_are_files;
    let has_directory = has_variables || has_printed || has_relative_files(request);
    let directory = has_directory.then(|| mount(SECRETS_DIR, Cow::Borrowed(FILES_DIR)));
    let in_directories = files().chain(&request.token_file);
    let own: BTreeSet<_> = in_directories.filter_map(Destination::directory).collect();
    let own = own
        .into_iter()
        .map(|directory| mount(directory, Cow::Owned(place_of_directory(directory))));
    let single = files().enumerate().filter_map(|(index, file)| match file {
        Destination::Absolute(path) => Some(mount(path, Cow::Owned(file.place(index)))),
        _ => None,
    });
    directory.into_iter().chain(own).chain(single).collect()
}

/// Whether a file is delivered below [`SECRETS_DIR`].
pub(super) fn has_relative_files(request: &InjectionRequest) -> bool {
    let mut files = request.files.iter().map(|file| &file.file);
    files.any(|file| matches!(file, Destination::Relative(_) | Destination::EachField(_)))
}

/// The mount of the files in a pod without `podkey-init`: the whole volume, into which the job hooks write. A directory of the volume
/// (`subPath`) would cost the kubelet another mount, and would hide nothing.
pub(crate) fn without_init() -> AddedMount<'static> {
    AddedMount {
        volume: SECRETS_VOLUME,
        path: SECRETS_DIR,
        sub_path: None,
        access: FileAccess::Read,
    }
}

/// The mounts of the agent, and of its state where the agent comes with its image, in a container that uses the agent.
pub(super) fn of_agent<'r>(binary: Binary, hooks_alone: bool) -> impl Iterator<Item = AddedMount<'r>> {
    let mount = |volume, path, sub_path: Option<&'static str>| AddedMount {
        volume,
        path,
        sub_path: sub_path.map(Cow::Borrowed),
        access: FileAccess::Read,
    };
    let state = match (binary, hooks_alone) {
        (Binary::Copy, _) => None,
        (Binary::ImageVolume, true) => Some(mount(PLAN_VOLUME, STATE_DIR, None)),
        (Binary::ImageVolume, false) => Some(mount(SECRETS_VOLUME, STATE_DIR, Some(STATE_PLACE))),
    };
    [mount(BIN_VOLUME, BIN_DIR, None)].into_iter().chain(state)
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

/// Whether this is the mount of what `podkey-init` leaves for the agent.
pub(crate) fn is_state(mount: &VolumeMount<'_>) -> bool {
    mount.is_read_only() && (&*mount.mount_path, mount.sub_path.as_deref()) == (STATE_DIR, Some(STATE_PLACE))
}

/// Whether a mount of `podkey-secrets` could be podkey's, in a pod with `podkey-init`: not the volume's root, and read-only unless the
/// container may write. (Job hooks write no file into a directory of its own.)
pub(crate) fn may_be_ours(mount: &VolumeMount<'_>, access: FileAccess) -> bool {
    let is_below = |directory: &str, path: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    let Some(path) = mount.sub_path.as_deref() else {
        return false;
    };
    let is_writable_place = path == FILES_DIR || is_below(FILES_DIR, path) || is_below(SINGLE_DIR, path);
    let is_directory = || directory_of_place(path).is_some();
    match mount.is_read_only() {
        true => is_writable_place || is_directory(),
        false => is_writable_place && access == FileAccess::Write,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::pod::Pod;
    use crate::inject::problem::Problems;
    use crate::inject::request::annotations;

    fn mounts(files: &[&str]) -> Vec<(String, String)> {
        let entries = (0..files.len()).map(|index| format!("- {{secret: kv/data/a, file: f{index}}}\\n"));
        let annotation = entries.collect::<String>();
        let pod = format!(
            r#"{{"metadata": {{"annotations": {{"podkey.dev/files": "{annotation}"}}}}, "spec": {{"containers": []}}}}"#
        );
        let pod = Pod::parse(&pod).unwrap();
        let mut problems = Problems::default();
        let mut request = annotations::parse(pod.metadata.annotations.as_ref().unwrap(), &mut problems);
        assert!(problems.is_empty(), "{problems}");
        // The annotation itself names no directory of its own.
        for (file, written) in request.files.iter_mut().zip(files) {
            file.file = written.parse().unwrap();
        }
        let mounts = of_files(&request, JobHooks::Off, true);
        let places = mounts.iter().map(|mount| {
            let (path, sub_path) = mount.place();
            (path.to_owned(), sub_path.unwrap().to_owned())
        });
        places.collect()
    }

    #[test]
    fn a_directory_of_its_own_is_mounted_once_for_all_its_files() {
        let vault = ("/vault/secrets".to_owned(), "mounts/%2Fvault%2Fsecrets".to_owned());
        assert_eq!(
            mounts(&["/vault/secrets:a", "/vault/secrets:b/c"]),
            std::slice::from_ref(&vault)
        );
        assert_eq!(
            mounts(&["/tmp/a", "web.env", "/vault/secrets:a", "/srv/100%:b"]),
            [
                ("/podkey/secrets".to_owned(), "files".to_owned()),
                ("/srv/100%".to_owned(), "mounts/%2Fsrv%2F100%25".to_owned()),
                vault,
                ("/tmp/a".to_owned(), "single/0".to_owned()),
            ]
        );
    }

    #[test]
    fn a_present_mount_may_be_podkey_s_where_it_leads_to_one_directory_and_is_read_only() {
        let may_be = |sub_path: &str, read_only: bool, access| {
            let json = format!(
                r#"{{"name": "podkey-secrets", "mountPath": "/x", "subPath": "{sub_path}", "readOnly": {read_only}}}"#
            );
            may_be_ours(&serde_json::from_str(&json).unwrap(), access)
        };
        for (sub_path, ours) in [
            ("mounts/%2Fvault%2Fsecrets", true),
            ("mounts/%2Fsrv%2F100%25", true),
            ("mounts", false),
            ("mounts/", false),
            ("mounts/%2Fvault/..", false),
            ("mounts/%2Fvault%2Fsecrets/app", false),
            ("mounts/%2fvault", false),
            ("mounts/vault", false),
            ("files", true),
            ("single/0", true),
            ("", false),
        ] {
            assert_eq!(may_be(sub_path, true, FileAccess::Read), ours, "{sub_path}");
        }
        // The runner writes its files, and no file of a directory of its own.
        assert!(may_be("files", false, FileAccess::Write));
        assert!(!may_be("files", false, FileAccess::Read));
        assert!(!may_be("mounts/%2Fvault%2Fsecrets", false, FileAccess::Write));
    }
}
