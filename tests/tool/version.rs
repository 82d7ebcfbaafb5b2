//! `podkey version`: what a bug report needs.

use std::process::Command;

use serde_json::Value;

use crate::podkey;

/// The commit that is checked out. Empty: there is no git, or no repository.
fn checked_out() -> String {
    let git = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "HEAD"])
        .output();
    git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

#[test]
fn version_tells_the_commit_and_the_version_of_plans() {
    let shown: Value = serde_json::from_str(&podkey(&["version", "-o", "json"]).stdout).unwrap();
    assert_eq!(shown["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(shown["planVersion"], 1);
    assert!(
        shown["target"].as_str().unwrap().starts_with(std::env::consts::ARCH),
        "{shown}"
    );
    // A person can name the commit for the build, and without git's folder there is none to compare with.
    let commit = shown["commit"].as_str().unwrap();
    let checked_out = checked_out();
    if env!("PODKEY_COMMIT_IS_NAMED") == "false" && !checked_out.is_empty() {
        assert_eq!(commit, checked_out);
    }
    let text = podkey(&["version"]).stdout;
    assert!(
        text.starts_with(concat!("podkey ", env!("CARGO_PKG_VERSION"), "\ncommit: ")),
        "{text}"
    );
    assert!(text.contains(commit) && text.contains("\nplan version: 1\n"), "{text}");
}

#[test]
fn the_option_version_is_one_line_as_it_was() {
    let shown = podkey(&["--version"]);
    assert_eq!(
        (shown.code, shown.stdout.as_str()),
        (0, concat!("podkey ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}
