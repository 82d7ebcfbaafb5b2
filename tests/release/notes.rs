//! `.ci/release check` and `.ci/release notes`: whether a tag may be released, and what its page says.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use super::{refusal, root, script, stdout};

const CHANGELOG: &str = "\
# Changelog

## [Unreleased]

## [1.2.3] - 2026-12-24

One sentence that
has two lines.

### Added

- A thing, told in
  two lines. [docs/thing.md](docs/thing.md#top), [elsewhere](https://example.com/x)
- Another, for Kubernetes
  1.30 and newer, and for
  **both** machines
  - with a part

```sh
first
second
```

## [1.2.2] - 2026-12-01

- Of another version.

[1.2.3]: https://example.com/compare
";

const NOTES: &str = "\
One sentence that has two lines.

### Added

- A thing, told in two lines. [docs/thing.md](https://github.com/podkey/podkey/blob/v1.2.3/docs/thing.md#top), [elsewhere](https://example.com/x)
- Another, for Kubernetes 1.30 and newer, and for **both** machines
  - with a part

```sh
first
second
```
";

/// A repository of version 1.2.3 with the files that `.ci/release` reads.
fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "Cargo.toml",
        "[package]\nname = \"podkey\"\nversion = \"1.2.3\"\n\n[dependencies]\nx = { version = \"9.9.9\" }\n",
    );
    write("Cargo.lock", "[[package]]\nname = \"podkey\"\nversion = \"1.2.3\"\n");
    write(
        "manifests/chart/Chart.yaml",
        "name: podkey\nversion: 1.2.3\nappVersion: \"1.2.3\"\n",
    );
    write("CHANGELOG.md", CHANGELOG);
    fs::create_dir_all(folder.path().join(".ci")).unwrap();
    for name in [".ci/release", ".ci/release-notes"] {
        fs::copy(root().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn release(folder: &Path, args: &[&str]) -> Output {
    script(&folder.join(".ci/release")).args(args).output().unwrap()
}

#[test]
fn a_tag_that_fits_can_be_released() {
    let folder = repository();
    assert_eq!(stdout(&release(folder.path(), &["version"])), "1.2.3\n");
    assert_eq!(
        stdout(&release(folder.path(), &["check", "v1.2.3"])),
        "release: v1.2.3 can be released\n"
    );
}

#[test]
fn a_tag_of_another_version_is_refused() {
    let folder = repository();
    for tag in ["v1.2.4", "1.2.3", "v1.2.3-rc.1", "v1.2.30", "", "v9.9.9"] {
        let message = refusal(&release(folder.path(), &["check", tag]));
        assert!(message.contains("must be v1.2.3"), "{tag}: {message}");
    }
}

/// Path, text that is replaced there, its replacement, a part of the message.
#[test]
fn what_disagrees_with_the_version_stops_the_release() {
    for (path, old, new, expected) in [
        ("Cargo.toml", "1.2.3", "1.2", "is not a version"),
        ("Cargo.lock", "1.2.3", "1.2.2", "Cargo.lock has another version"),
        (
            "manifests/chart/Chart.yaml",
            "\nversion: 1.2.3",
            "\nversion: 1.2.2",
            "version is not 1.2.3",
        ),
        (
            "manifests/chart/Chart.yaml",
            "\"1.2.3\"",
            "1.2.2",
            "appVersion is not 1.2.3",
        ),
        ("CHANGELOG.md", "[1.2.3]", "[1.2.4]", "no section"),
        ("CHANGELOG.md", " - 2026-12-24", "", "no date"),
        ("CHANGELOG.md", " - 2026-12-24", " - soon", "no date"),
        ("CHANGELOG.md", "- A", "A", "lists nothing"),
    ] {
        let folder = repository();
        let file = folder.path().join(path);
        let mut text = fs::read_to_string(&file).unwrap().replacen(old, new, 1);
        if expected == "lists nothing" {
            text = text.replace("\n- ", "\n").replace("\n  - ", "\n");
        }
        fs::write(&file, text).unwrap();
        let message = refusal(&release(folder.path(), &["check", "v1.2.3"]));
        assert!(message.contains(expected), "{path}, {new}: {message}");
    }
}

#[test]
fn notes_are_the_section_of_the_changelog_as_the_forge_shows_it() {
    let folder = repository();
    assert_eq!(stdout(&release(folder.path(), &["notes"])), NOTES);
    assert_eq!(
        stdout(&release(folder.path(), &["notes", "1.2.2"])),
        "- Of another version.\n"
    );
}

#[test]
fn what_is_not_released_yet_has_notes_too() {
    let notes = stdout(&release(root(), &["notes", "Unreleased"]));
    assert!(notes.contains("### Added"), "{notes}");
    assert!(!notes.contains("](docs/"), "a relative link: {notes}");
}
