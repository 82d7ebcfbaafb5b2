//! The pages: README, docs/ and the pages beside the code that they are about. The reference pages are made from podkey's own tables;
//! YAML and commands are what podkey takes; links lead somewhere; the book has each page once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod book;
mod commands;
mod context;
mod links;
mod page;
mod planted;
mod programs;
mod reference;
mod shell;
mod yaml;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use page::Page;

/// The largest first page, in bytes: what a reader gets through.
const MAX_README_BYTES: usize = 8192;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program of podkey in an empty world: no cluster, no Vault, no variables, nothing on standard input.
fn run(program: &str, name: &str, args: &[&str], folder: &Path) -> Output {
    let deadline = Duration::from_secs(120);
    run_within(deadline, program, name, args, folder).unwrap_or_else(|| panic!("{name} {args:?} does not end"))
}

/// `None`: it did not end within the deadline, and was killed.
fn run_within(deadline: Duration, program: &str, name: &str, args: &[&str], folder: &Path) -> Option<Output> {
    use std::os::unix::process::CommandExt as _;
    let child = Command::new(program)
        .arg0(name)
        .args(args)
        .env_clear()
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let _ = sender.send(child.wait_with_output());
    });
    let output = ended.recv_timeout(deadline).ok();
    if output.is_none() {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    waiting.join().unwrap();
    output.map(Result::unwrap)
}

/// What `podkey` prints on standard output.
fn podkey(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = run(env!("CARGO_BIN_EXE_podkey"), "podkey", args, folder.path());
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Fails with the problems, if there are any.
#[track_caller]
fn insist(problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn every_yaml_block_passes_podkey() {
    let checked = yaml::check(&page::all());
    eprintln!("{}", checked.summary());
    insist(&checked.problems);
}

#[test]
fn every_command_line_of_podkey_and_of_make_parses() {
    insist(&commands::problems(&page::all()));
}

#[test]
fn every_link_and_every_picture_leads_somewhere() {
    insist(&links::problems(&page::all()));
}

#[test]
fn no_page_needs_a_link_into_the_source() {
    insist(&links::into_the_source(&page::all()));
}

#[test]
fn the_book_has_each_page_once() {
    insist(&book::problems(&page::all()));
}

#[test]
fn each_page_begins_with_its_title() {
    let pages = page::all();
    let untitled = pages
        .iter()
        .filter(|page| !page.is_summary() && !page.text.starts_with("# "))
        .map(|page| format!("{}: the first line is not `# Title`", page.path));
    insist(&untitled.collect::<Vec<_>>());
}

#[test]
fn the_first_page_is_short() {
    let readme = Page::read("README.md").text.len();
    assert!(readme <= MAX_README_BYTES, "README.md has {readme} bytes");
}

#[test]
fn the_reference_is_what_the_tables_say() {
    reference::check();
}
