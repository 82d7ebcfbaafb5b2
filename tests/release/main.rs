//! Releases: what the workflows may do, and the parts of a release that are made without anybody's rights. The programs and the image
//! are looked at in tests/dist.rs and tests/image.sh; tests/reproducible.sh builds the programs twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod files;
mod notes;
mod project;
mod scripts;
mod workflows;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A script of the repository, with the programs that `make` put into .tools.
fn script(path: &Path) -> Command {
    let mut command = Command::new(path);
    let mut paths = OsString::from(root().join(".tools/bin"));
    paths.push(":");
    paths.push(env::var_os("PATH").unwrap_or_default());
    command.env("PATH", paths);
    command
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The error message of a command that must fail.
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}
