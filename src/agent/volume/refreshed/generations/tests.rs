//! A reader never sees two generations mixed, nor none; what a killed writer leaves is whole, and swept; links that are not
//! ours are refused; a full volume keeps what is there.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::OFlags;

use super::*;
use crate::agent::volume::staged::tests::{exit_code, names};
use crate::plan::ExitCode;

fn try_open(volume: &Path) -> Result<Generations, VolumeError> {
    Generations::open(&Staged::open(volume)?, "files")
}

fn open(volume: &Path) -> Generations {
    try_open(volume).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::from(text.as_bytes().to_vec())
}

/// Files with these texts, mode 0440.
fn put(generations: &mut Generations, files: &[(&str, &str)]) -> Result<(), VolumeError> {
    let files: Vec<_> = files.iter().map(|(place, text)| (*place, secret(text))).collect();
    let files: Vec<_> = files
        .iter()
        .map(|(place, text)| (*place, NextContent::New(text, 0o440)))
        .collect();
    generations.swap(&files)
}

/// The names that are no generation's.
fn shown(dir: &Path) -> Vec<String> {
    names(&dir.join("files"))
        .into_iter()
        .filter(|name| !is_generation(name))
        .collect()
}

fn text(dir: &Path, place: &str) -> String {
    fs::read_to_string(dir.join("files").join(place)).unwrap_or_else(|error| panic!("{place}: {error}"))
}

#[test]
fn files_have_their_own_names_and_a_change_keeps_the_other_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut generations = open(dir.path());
    put(
        &mut generations,
        &[("web.env", "1"), ("tls/cert", "c1"), ("tls/deep/key", "k1")],
    )
    .unwrap();
    assert_eq!(shown(dir.path()), ["..data", "tls", "web.env"]);
    assert_eq!(text(dir.path(), "web.env"), "1");
    assert_eq!(text(dir.path(), "tls/deep/key"), "k1");
    let before = fs::metadata(dir.path().join("files/web.env")).unwrap();
    assert_eq!(before.permissions().mode() & 0o7777, 0o440);

    let (cert, key) = (secret("c2"), secret("k2"));
    let held = fs::File::open(dir.path().join("files/..data")).unwrap();
    generations
        .swap(&[
            ("web.env", NextContent::Same),
            ("tls/cert", NextContent::New(&cert, 0o444)),
            ("tls/new", NextContent::New(&key, 0o400)),
        ])
        .unwrap();
    assert_eq!(text(dir.path(), "tls/cert"), "c2");
    assert!(!dir.path().join("files/tls/deep").exists(), "what is not in it is gone");
    let after = fs::metadata(dir.path().join("files/web.env")).unwrap();
    assert_eq!(
        (before.ino(), before.mtime_nsec(), before.mode()),
        (after.ino(), after.mtime_nsec(), after.mode()),
        "the very same file"
    );
    // Who had the old one open reads on in it.
    let old = openat(&held, "tls/cert", OFlags::RDONLY, Mode::empty()).unwrap();
    let mut told = String::new();
    fs::File::from(old).read_to_string(&mut told).unwrap();
    assert_eq!(told, "c1");
    assert!(generations.removal_due().is_some());

    generations.swap(&[("tls/cert", NextContent::Same)]).unwrap();
    assert_eq!(shown(dir.path()), ["..data", "tls"]);
    assert_eq!(generations.read("tls/cert", 10).unwrap(), (secret("c2"), 0o444));
    assert!(generations.read("tls/cert", 1).is_none() && generations.read("web.env", 9).is_none());
    generations.clear().unwrap();
    assert_eq!(shown(dir.path()), ["..data"]);
    assert_eq!(names(&dir.path().join("files")).len(), 2);
}

#[test]
fn ten_thousand_changes_and_a_reader_never_sees_a_mixed_pair_nor_a_missing_file() {
    const CHANGES: usize = 10_000;
    let dir = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
    let mut generations = open(dir.path());
    put(&mut generations, &[("cert", "0"), ("key", "0"), ("same", "s")]).unwrap();
    let current = dir.path().join("files/..data");
    let (ended, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let generation = fs::File::open(&current).expect("there is always one");
                let read = |name: &str| {
                    let file = openat(&generation, name, OFlags::RDONLY, Mode::empty()).expect(name);
                    let mut text = String::new();
                    fs::File::from(file).read_to_string(&mut text).unwrap();
                    text
                };
                let pair = (read("cert"), read("key"));
                assert_eq!(pair.0, pair.1, "two generations mixed");
                assert_eq!(read("same"), "s");
                // By its own name each file is there at any time, whole.
                assert!(
                    !fs::read_to_string(dir.path().join("files/key"))
                        .expect("key")
                        .is_empty()
                );
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        for change in 1..=CHANGES {
            let text = secret(&change.to_string());
            let swapped = generations.swap(&[
                ("cert", NextContent::New(&text, 0o440)),
                ("key", NextContent::New(&text, 0o440)),
                ("same", NextContent::Same),
            ]);
            swapped.unwrap();
            if reader.is_finished() {
                break;
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(text(dir.path(), "cert"), CHANGES.to_string());
    assert!(reads.load(Ordering::Relaxed) > 100, "{reads:?}");
}

#[test]
fn after_a_killed_writer_every_name_leads_to_a_file_and_the_rest_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut generations = open(dir.path());
    put(&mut generations, &[("a", "1"), ("b/c", "1")]).unwrap();
    let current = fs::read_link(dir.path().join("files/..data")).unwrap();
    drop(generations);
    let files = dir.path().join("files");
    // In the middle of the next one.
    let half = files.join("..2026_11_22_10_31_45.0123456789abcdef");
    fs::create_dir_all(half.join("deep/er")).unwrap();
    fs::write(half.join("deep/er/secret"), "half").unwrap();
    fs::write(half.join(".podkey-tmp-0123456789abcdef"), "half").unwrap();
    // Names before `..data`, `..data` under its temporary name, a name that was not taken away, one that was not given.
    symlink("..data/new", files.join("new")).unwrap();
    symlink("..2026_11_22_10_31_45.0123456789abcdef", files.join("..data_tmp")).unwrap();
    fs::remove_file(files.join("b")).unwrap();
    // A status that was not finished, and the finished one.
    fs::write(files.join(".podkey-tmp-00000000000000ff"), "{").unwrap();
    fs::write(files.join(".status.json"), "{}").unwrap();
    // Not ours.
    fs::create_dir(files.join("..somebody")).unwrap();
    symlink("elsewhere", files.join("link")).unwrap();

    let mut generations = open(dir.path());
    assert_eq!(
        shown(dir.path()),
        ["..data", "..somebody", ".status.json", "a", "b", "link"]
    );
    assert_eq!(fs::read_link(files.join("..data")).unwrap(), current);
    assert_eq!(
        (text(dir.path(), "a"), text(dir.path(), "b/c")),
        ("1".into(), "1".into())
    );
    assert!(!half.exists());
    put(&mut generations, &[("a", "2")]).unwrap();
    assert_eq!(text(dir.path(), "a"), "2");
    // A `..data` that leads nowhere: what it led to was removed by hand.
    fs::remove_dir_all(files.join(fs::read_link(files.join("..data")).unwrap())).unwrap();
    let mut generations = open(dir.path());
    put(&mut generations, &[("a", "3")]).unwrap();
    assert_eq!(text(dir.path(), "a"), "3");
}

/// The writer is this test itself, run again as a process, and killed.
#[test]
fn a_writer_that_is_killed_at_any_moment_leaves_a_whole_generation() {
    const DIRECTORY: &str = "PODKEY_TEST_GENERATIONS";
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        let dir = PathBuf::from(dir);
        let mut generations = open(&dir);
        for change in 1_u64.. {
            let text = "x".repeat((change % 7000) as usize) + &change.to_string();
            // Another name each time too.
            put(
                &mut generations,
                &[("cert", &text), ("key", &text), (&format!("n{}", change % 3), "")],
            )
            .unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    put(&mut open(dir.path()), &[("cert", "0"), ("key", "0")]).unwrap();
    for _ in 0..60 {
        let mut writer = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "agent::volume::refreshed::generations::tests::a_writer_that_is_killed_at_any_moment_leaves_a_whole_generation",
            ])
            .env(DIRECTORY, dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // On a busy machine the writer takes long to begin.
        let current = || fs::read_link(dir.path().join("files").join(CURRENT)).unwrap();
        let before = current();
        while current() == before && writer.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(fastrand::u64(..20_000)));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let cert = text(dir.path(), "cert");
        assert!(!cert.is_empty());
        assert_eq!(cert, text(dir.path(), "key"));
        let _ = open(dir.path());
        let rest = names(&dir.path().join("files"));
        assert_eq!(rest.iter().filter(|name| is_generation(name)).count(), 1, "{rest:?}");
        for name in rest {
            fs::metadata(dir.path().join("files").join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    assert!(text(dir.path(), "cert") != "0", "the writer never came to write");
}

#[test]
fn foreign_symlinks_are_neither_followed_nor_replaced() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("a"), "untouched").unwrap();
    let refused = |dir: &Path| {
        let failure = match try_open(dir) {
            Ok(mut generations) => put(&mut generations, &[("a", "secret"), ("sub/b", "secret")]).unwrap_err(),
            Err(failure) => failure,
        };
        assert_eq!(exit_code(&failure), ExitCode::CannotWrite);
        assert_eq!(names(outside.path()), ["a"], "{failure}");
        assert_eq!(fs::read(outside.path().join("a")).unwrap(), b"untouched");
        failure.hint
    };
    for (plant, target) in [("files", ""), ("files/..data", ""), ("files/a", "a"), ("files/sub", "")] {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join(plant);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(outside.path().join(target), &link).unwrap();
        let hint = refused(dir.path());
        assert!(hint.contains("nothing but podkey"), "{plant}: {hint}");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
    // A file or a directory in the place of one of our links.
    for plant in ["files/a", "files/..data"] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(plant)).unwrap();
        refused(dir.path());
        assert!(!dir.path().join("files/sub").exists());
    }
    // A generation that is a link, and a file in one that is.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("files")).unwrap();
    symlink(
        outside.path(),
        dir.path().join("files/..2026_11_22_10_31_45.0123456789abcdef"),
    )
    .unwrap();
    symlink(
        "..2026_11_22_10_31_45.0123456789abcdef",
        dir.path().join("files/..data"),
    )
    .unwrap();
    refused(dir.path());
    let dir = tempfile::tempdir().unwrap();
    let mut generations = open(dir.path());
    put(&mut generations, &[("a", "1")]).unwrap();
    fs::remove_file(dir.path().join("files/..data/a")).unwrap();
    symlink(outside.path().join("a"), dir.path().join("files/..data/a")).unwrap();
    assert!(generations.swap(&[("a", NextContent::Same)]).is_err());
    assert!(generations.read("a", 100).is_none());
}

#[test]
fn a_generation_that_cannot_be_finished_leaves_only_the_current_generation() {
    let dir = tempfile::tempdir().unwrap();
    let mut generations = open(dir.path());
    put(&mut generations, &[("a", "1"), ("b", "1")]).unwrap();
    let before = names(&dir.path().join("files"));
    let text_2 = secret("2");
    for bad in [
        vec![("a", NextContent::New(&text_2, 0o400)), ("gone", NextContent::Same)],
        vec![
            ("a", NextContent::New(&text_2, 0o400)),
            ("b", NextContent::Same),
            ("b/c", NextContent::New(&text_2, 0o400)),
        ],
    ] {
        generations.swap(&bad).unwrap_err();
        assert_eq!(names(&dir.path().join("files")), before);
        assert_eq!(text(dir.path(), "a"), "1");
    }
}

#[test]
fn a_full_volume_keeps_the_files_and_takes_later_changes_that_fit() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "podkey-test"])
        .arg(dir.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a tmpfs cannot be mounted here (needs root)");
        return;
    }
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
        }
    }
    let _mounted = Mounted(dir.path());
    let mut generations = open(dir.path());
    let large = "x".repeat(100_000);
    put(&mut generations, &[("a", "1"), ("b", &large)]).unwrap();
    // Two of these fit, one and a larger one do not.
    let failure = put(&mut generations, &[("a", "2"), ("b", &large.repeat(2))]).unwrap_err();
    assert_eq!(exit_code(&failure), ExitCode::CannotWrite);
    assert!(failure.hint.contains("sizeLimit"), "{}", failure.hint);
    assert_eq!(
        (text(dir.path(), "a").as_str(), text(dir.path(), "b")),
        ("1", large.clone())
    );
    assert_eq!(names(&dir.path().join("files")).len(), 4, "nothing of it is left");
    // One after the other, faster than old ones are removed by themselves: they make room.
    for change in 2..6 {
        let (small, large) = (change.to_string(), change.to_string().repeat(100_000));
        put(&mut generations, &[("a", &small), ("b", &large)]).unwrap();
        assert_eq!((text(dir.path(), "a"), text(dir.path(), "b")), (small, large));
    }
    // What does not change needs no room.
    let text_9 = secret("9");
    for _ in 0..20 {
        generations
            .swap(&[("a", NextContent::New(&text_9, 0o400)), ("b", NextContent::Same)])
            .unwrap();
    }
}

#[test]
fn with_fs_group_every_generation_has_the_pods_group() {
    let dir = tempfile::tempdir().unwrap();
    if std::os::unix::fs::chown(dir.path(), None, Some(12345)).is_err() {
        eprintln!("skipped: only root can give a directory to another group");
        return;
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o3777)).unwrap();
    let mut generations = open(dir.path());
    put(&mut generations, &[("a", "1"), ("x/y", "1")]).unwrap();
    put(&mut generations, &[("a", "2"), ("x/y", "2")]).unwrap();
    for place in ["", "..data", "a", "x", "x/y"] {
        let found = fs::metadata(dir.path().join("files").join(place)).unwrap();
        assert_eq!(found.gid(), 12345, "{place}");
        assert_eq!(found.mode() & 0o5022, 0, "{place}");
        assert!(found.is_file() || found.mode() & 0o7777 == 0o2755, "{place}");
    }
}
