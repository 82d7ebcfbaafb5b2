//! Two directories change one after the other, each at once; a directory that cannot change leaves the other one whole.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::agent::volume::FileState;
use crate::plan::Plan;

const FILES: &str = "podkey/volume/files";
const VAULT: &str = "podkey/volume/mounts/%2Fvault%2Fsecrets";

fn plan(files: &[&str]) -> Plan {
    let files: Vec<_> = files
        .iter()
        .map(|file| format!(r#"{{"secret": "kv/data/a", "format": "json", "file": "{file}", "mode": "0444"}}"#))
        .collect();
    let json = format!(
        r#"{{"version": 1, "connection": {{"name": "default", "address": "https://vault:8200"}},
            "login": {{"method": "kubernetes", "mount": "kubernetes", "role": "web"}}, "budget": "5m",
            "files": [{}], "refresh": {{"interval": "5m"}}}}"#,
        files.join(",")
    );
    Plan::parse(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn open(root: &Path, plan: &Plan) -> RefreshedFiles {
    RefreshedFiles::open(&ContainerPaths::new(Some(root.to_owned())), plan).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::from(text.as_bytes().to_vec())
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn status(secret: &str) -> FileStatus {
    FileStatus::new(secret, FileState::Gone)
}

#[test]
fn files_go_into_the_directory_of_their_mount_with_its_own_generations_and_status() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(&["web.env", "/vault/secrets:db/creds"]);
    let mut shown = open(dir.path(), &plan);
    shown.put("web.env", secret("w"), 0o444);
    shown.put("/vault/secrets/db/creds", secret("v"), 0o400);
    assert!(shown.has("/vault/secrets/db/creds") && !shown.has("db/creds") && !shown.has("/other/x"));
    assert_eq!(shown.size("/vault/secrets/db/creds"), 1);
    assert!(shown.changes("/vault/secrets/db/creds") && shown.has_changes());
    let swapped = shown.swap();
    assert!(swapped.failure.is_none());
    assert_eq!(swapped.changed, ["web.env", "/vault/secrets/db/creds"]);
    assert_eq!(read(dir.path(), &format!("{FILES}/web.env")), "w");
    assert_eq!(read(dir.path(), &format!("{VAULT}/db/creds")), "v");
    let creds = fs::metadata(dir.path().join(VAULT).join("db/creds")).unwrap();
    assert_eq!(creds.permissions().mode() & 0o777, 0o400);
    assert_eq!(
        fs::read_link(dir.path().join(VAULT).join("db")).unwrap(),
        Path::new("..data/db")
    );

    let files = [("web.env", "kv/data/w"), ("/vault/secrets/db/creds", "kv/data/v")];
    let files: BTreeMap<_, _> = files.map(|(name, path)| (name.to_owned(), status(path))).into();
    shown.write_status(&StatusFile::new(files.clone())).unwrap();
    let of_vault = read(dir.path(), &format!("{VAULT}/.status.json"));
    assert!(
        of_vault.contains("\"db/creds\"") && !of_vault.contains("web.env"),
        "{of_vault}"
    );

    // Another process of the sidecar finds everything again.
    let mut shown = open(dir.path(), &plan);
    assert_eq!(
        shown.names().collect::<Vec<_>>(),
        ["web.env", "/vault/secrets/db/creds"]
    );
    assert_eq!(shown.read_status(), files);
    shown.remove("/vault/secrets/db/creds");
    assert_eq!(shown.swap().changed, ["/vault/secrets/db/creds"]);
    assert!(shown.has("web.env") && !dir.path().join(VAULT).join("db").exists());
    shown.clear().unwrap();
    assert_eq!(shown.names().count(), 0);
    assert!(!dir.path().join(FILES).join("web.env").exists());
}

#[test]
fn a_directory_that_cannot_change_leaves_the_other_directory_whole_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(&["/vault/secrets:a", "/srv:b"]);
    let mut shown = open(dir.path(), &plan);
    shown.put("/vault/secrets/a", secret("1"), 0o444);
    shown.put("/srv/b", secret("1"), 0o444);
    assert!(shown.swap().failure.is_none());
    // Somebody else's symlink, where podkey's must be.
    let name = dir.path().join(VAULT).join("new");
    symlink("/etc/passwd", &name).unwrap();
    shown.put("/vault/secrets/a", secret("2"), 0o444);
    shown.put("/vault/secrets/new", secret("2"), 0o444);
    shown.put("/srv/b", secret("2"), 0o444);
    let swapped = shown.swap();
    assert_eq!(swapped.changed, ["/srv/b"]);
    assert!(swapped.failure.unwrap().message.contains("new is not a symbolic link"));
    assert_eq!(
        read(dir.path(), &format!("{VAULT}/a")),
        "1",
        "all changes of a directory or none"
    );
    assert!(shown.has_changes());

    fs::remove_file(name).unwrap();
    let swapped = shown.swap();
    assert_eq!(swapped.changed, ["/vault/secrets/a", "/vault/secrets/new"]);
    assert!(swapped.failure.is_none() && !shown.has_changes());
    assert_eq!(read(dir.path(), &format!("{VAULT}/a")), "2");
}

#[test]
fn ten_thousand_changes_of_two_directories_and_a_reader_never_sees_a_mixed_pair() {
    const CHANGES: usize = 10_000;
    let dir = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
    let plan = plan(&["cert", "key", "/vault/secrets:cert", "/vault/secrets:key"]);
    let mut shown = open(dir.path(), &plan);
    let names = ["cert", "key", "/vault/secrets/cert", "/vault/secrets/key"];
    let mut put = |number: usize| {
        for name in names {
            shown.put(name, secret(&number.to_string()), 0o444);
        }
        assert_eq!(shown.swap().changed.len(), names.len());
        shown.remove_replaced();
    };
    put(0);
    let (ended, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let root = dir.path();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let generation = |directory: &str| fs::canonicalize(root.join(directory).join("..data")).unwrap();
                // The directories change in this order: who looks at the second one first sees no newer pair there.
                let (second, first) = (generation(VAULT), generation(FILES));
                let number = |generation: &Path| {
                    let read =
                        |name| fs::read_to_string(generation.join(name)).expect("the generation stays for a while");
                    let (cert, key) = (read("cert"), read("key"));
                    assert_eq!(cert, key, "two generations mixed");
                    cert.parse::<usize>().unwrap()
                };
                assert!(number(&second) <= number(&first), "the order of the directories");
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        for number in 1..=CHANGES {
            put(number);
        }
        ended.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert!(reads.into_inner() > 0);
}
