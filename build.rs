//! Tells the crate the commit and the target that it is built from, for `podkey version`. Never fails: without git's folder the commit
//! is unknown.

#![allow(clippy::print_stdout, reason = "cargo reads what a build script prints")]

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PODKEY_COMMIT");
    let named = std::env::var("PODKEY_COMMIT").unwrap_or_default();
    // An image is built without git's folder: its builder names the commit.
    let commit = Some(named.clone())
        .filter(|commit| is_commit(commit))
        .or_else(commit_of_git);
    println!("cargo::rustc-env=PODKEY_COMMIT_IS_NAMED={}", is_commit(&named));
    println!(
        "cargo::rustc-env=PODKEY_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
    println!(
        "cargo::rustc-env=PODKEY_TARGET={}",
        std::env::var("TARGET").unwrap_or_default()
    );
}

/// The commit that is checked out, as git's files name it: <https://git-scm.com/docs/gitrepository-layout>.
fn commit_of_git() -> Option<String> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    let git = root.join(".git");
    // In a worktree `.git` is a file that names the folder.
    let folder = match fs::read_to_string(&git) {
        Ok(text) => root.join(text.strip_prefix("gitdir:")?.trim()),
        Err(_) => git,
    };
    let head = fs::read_to_string(folder.join("HEAD")).ok()?;
    // HEAD names a branch. git adds a line to the log for each commit. (cargo runs the script each time if a file is missing.)
    for file in ["HEAD", "logs/HEAD"].map(|name| folder.join(name)) {
        if file.is_file() {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    let Some(branch) = head.strip_prefix("ref:").map(str::trim) else {
        return Some(head.trim().to_owned()).filter(|commit| is_commit(commit));
    };
    // A worktree has its branches in the repository's own folder.
    let common = match fs::read_to_string(folder.join("commondir")) {
        Ok(text) => folder.join(text.trim()),
        Err(_) => folder,
    };
    let commit = fs::read_to_string(common.join(branch))
        .ok()
        .or_else(|| packed(&common, branch))?;
    Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
}

/// The commit of a branch that has no file of its own.
fn packed(common: &Path, branch: &str) -> Option<String> {
    let text = fs::read_to_string(common.join("packed-refs")).ok()?;
    let commit = text
        .lines()
        .find_map(|line| line.strip_suffix(branch)?.strip_suffix(' '))?;
    Some(commit.to_owned())
}

/// Whether the text is a commit's whole name, in SHA-1 or SHA-256.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
