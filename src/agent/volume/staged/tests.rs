//! What must never be written through, what must be gone after a failure, and what a second run does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::agent::report::Failure;
use crate::plan::ExitCode;
use crate::secret::Secret;

fn rendered(place: &str, mode: u32, bytes: &[u8]) -> RenderedFile {
    RenderedFile {
        place: place.into(),
        mode,
        bytes: Secret::from(bytes.to_vec()),
    }
}

fn write(volume: &Path, files: &[RenderedFile]) -> Result<usize, VolumeError> {
    let mut staged = Staged::open(volume)?;
    for file in files {
        staged.stage(file)?;
    }
    staged.publish()
}

pub(in crate::agent::volume) fn exit_code(error: &VolumeError) -> ExitCode {
    Failure::from(error.clone()).code
}

/// What is in a directory, in order.
pub(in crate::agent::volume) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn files_have_their_bytes_and_modes_and_everybody_may_enter_directories() {
    let dir = tempfile::tempdir().unwrap();
    let count = write(
        dir.path(),
        &[
            rendered("single/0", 0o400, b"a\0\xff"),
            rendered("files/x/y/z", 0o664, b""),
            rendered("files/x/w", 0, b"w"),
        ],
    );
    assert_eq!(count.unwrap(), 3);
    let mode = |place: &str| fs::metadata(dir.path().join(place)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(fs::read(dir.path().join("single/0")).unwrap(), b"a\0\xff");
    assert_eq!(
        (mode("single/0"), mode("files/x/y/z"), mode("files/x/w")),
        (0o400, 0o664, 0)
    );
    assert_eq!(
        (mode("single"), mode("files"), mode("files/x/y")),
        (0o755, 0o755, 0o755)
    );
}

/// With `fsGroup` the kubelet gives the volume's root the pod's group and the setgid bit (mode 2777 and sticky).
#[test]
fn with_fs_group_every_file_has_the_pods_group() {
    use std::os::unix::fs::{MetadataExt, chown};
    let dir = tempfile::tempdir().unwrap();
    if chown(dir.path(), None, Some(12345)).is_err() {
        eprintln!("skipped: only root can give a directory to another group");
        return;
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o3777)).unwrap();
    write(
        dir.path(),
        &[rendered("single/0", 0o440, b"a"), rendered("files/x/y", 0o440, b"b")],
    )
    .unwrap();
    for place in ["single", "single/0", "files/x", "files/x/y"] {
        let found = fs::metadata(dir.path().join(place)).unwrap();
        assert_eq!(found.gid(), 12345, "{place}");
        assert_eq!(
            found.mode() & 0o5022,
            0,
            "{place}: no setuid or sticky bit, nobody else writes"
        );
    }
}

#[test]
fn a_second_run_replaces_the_files_of_the_first_and_removes_temporary_files_of_a_killed_run() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[rendered("files/a", 0o400, b"old")]).unwrap();
    fs::write(dir.path().join("files/.podkey-tmp-0123456789abcdef"), "half").unwrap();
    fs::write(dir.path().join("files/.podkey-tmp-of-somebody-else"), "kept").unwrap();
    write(dir.path(), &[rendered("files/a", 0o440, b"new")]).unwrap();
    assert_eq!(fs::read(dir.path().join("files/a")).unwrap(), b"new");
    assert_eq!(names(&dir.path().join("files")), [".podkey-tmp-of-somebody-else", "a"]);
}

#[test]
fn symlinks_are_neither_followed_nor_replaced() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("target"), "untouched").unwrap();
    for plant in ["files", "files/sub", "files/sub/a"] {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join(plant);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let target = if plant.ends_with('a') {
            outside.path().join("target")
        } else {
            outside.path().into()
        };
        symlink(target, &link).unwrap();
        let failure = write(dir.path(), &[rendered("files/sub/a", 0o400, b"secret")]).unwrap_err();
        assert_eq!(exit_code(&failure), ExitCode::CannotWrite, "{plant}: {failure}");
        assert!(
            format!("{failure} {}", failure.hint).contains("symbolic link"),
            "{plant}: {failure}"
        );
        assert_eq!(names(outside.path()), ["target"], "{plant}");
        assert_eq!(fs::read(outside.path().join("target")).unwrap(), b"untouched");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}

#[test]
fn no_file_of_a_run_stays_if_one_file_fails() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("single/1")).unwrap();
    let failure = write(
        dir.path(),
        &[rendered("single/0", 0o400, b"x"), rendered("single/1", 0o400, b"y")],
    )
    .unwrap_err();
    assert!(
        failure.message.contains("is a directory") && failure.hint.contains("kubelet"),
        "{failure}"
    );
    assert_eq!(names(&dir.path().join("single")), ["1"]);
}

#[test]
fn no_file_of_a_run_stays_if_one_rename_fails() {
    let dir = tempfile::tempdir().unwrap();
    let mut staged = Staged::open(dir.path()).unwrap();
    staged.stage(&rendered("files/a", 0o400, b"x")).unwrap();
    staged.stage(&rendered("files/b", 0o400, b"y")).unwrap();
    // Comes between the two phases.
    fs::create_dir(dir.path().join("files/b")).unwrap();
    assert_eq!(exit_code(&staged.publish().unwrap_err()), ExitCode::CannotWrite);
    assert_eq!(names(&dir.path().join("files")), ["b"]);
}

#[test]
fn dropping_staged_files_removes_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut staged = Staged::open(dir.path()).unwrap();
    staged.stage(&rendered("files/a", 0o400, b"x")).unwrap();
    assert_eq!(names(&dir.path().join("files")).len(), 1);
    drop(staged);
    assert!(names(&dir.path().join("files")).is_empty());
}

#[test]
fn a_missing_volume_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let failure = Staged::open(&dir.path().join("gone")).unwrap_err();
    assert!(failure.hint.contains("podkey-secrets"), "{failure}");
    assert!(Staged::make(&dir.path().join("made/for/you")).is_ok());
}
