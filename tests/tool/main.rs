//! podkey as the tool for workstations, as its users meet it: explain, completion, version, and the habits that all commands have.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../support/plain.rs"]
#[allow(unreachable_pub, reason = "shared by several test binaries")]
mod plain;

mod completion;
mod explain;
mod habits;
mod image;
mod server;
mod version;

use std::process::{Command, Stdio};

/// What a run of podkey printed, and its exit code.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs podkey without a terminal, and without variables that change the output.
pub(crate) fn podkey(args: &[&str]) -> Ended {
    ended(command(env!("CARGO_BIN_EXE_podkey"), args))
}

pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .env_remove("CLICOLOR_FORCE")
        .env_remove("NO_COLOR");
    command
}

pub(crate) fn ended(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let ended = Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    plain::assert_for_people("stderr", &ended.stderr);
    ended
}
