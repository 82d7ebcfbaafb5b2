//! Completions and manual pages: that shells take them, and that they know commands, options and words.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{command, ended, podkey};

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

/// The program under its name as a plugin of kubectl.
fn plugin(folder: &Path) -> String {
    let path = folder.join("kubectl-podkey");
    fs::hard_link(env!("CARGO_BIN_EXE_podkey"), &path)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_podkey"), &path).map(drop))
        .unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn each_shell_gets_a_script_for_the_name_by_which_podkey_was_started() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = plugin(folder.path());
    for shell in SHELLS {
        let script = podkey(&["completion", shell]);
        assert_eq!(script.code, 0, "{shell}: {}", script.stderr);
        assert!(
            script.stdout.contains("explain") && !script.stdout.contains("kubectl-podkey"),
            "{shell}"
        );
        // A hidden command is nothing to complete.
        assert!(!script.stdout.contains("__complete"), "{shell}");
        let script = ended(command(&plugin, &["completion", shell]));
        assert!(script.stdout.contains("kubectl-podkey"), "{shell}");
    }
    let unknown = podkey(&["completion", "tcsh"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (64, ""));
}

#[test]
fn bash_completes_commands_options_and_the_names_that_explain_knows() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("podkey.bash");
    fs::write(&script, podkey(&["completion", "bash"]).stdout).unwrap();
    let completed = |words: &str| {
        let program = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _podkey podkey \"${{COMP_WORDS[-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let output = Command::new("bash").args(["-c", &program]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(completed("podkey expl"), "explain\n");
    assert!(completed("podkey doctor --kube").contains("--kubeconfig\n"));
    assert!(completed("podkey explain files.m").contains("files.mode\n"));
}

#[test]
fn kubectl_gets_the_words_of_the_plugin_and_a_directive() {
    let words = |words: &[&str]| {
        let mut args = vec!["__complete", "--"];
        args.extend(words);
        let ended = podkey(&args);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout
    };
    assert_eq!(words(&["expl"]), "explain\n:4\n");
    assert_eq!(words(&["explain", "files.mo"]), "files.mode\n:4\n");
    assert_eq!(words(&["explain", "-o", ""]), "text\njson\n:4\n");
    assert_eq!(words(&["explain", "--out"]), "--output\n:4\n");
    assert!(words(&["migrate", ""]).starts_with("vault-action\nvault-k8s\n"));
    assert!(words(&["--log-format", "text", "expl"]).starts_with("explain\n"));
    // The name of a file: the shell completes the name itself.
    assert_eq!(words(&["inject", "--config", "x"]), ":0\n");
    assert!(!words(&[""]).contains("__complete"));
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in walk(folder) {
        let name = entry.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        files.insert(name, fs::read_to_string(&entry).unwrap());
    }
    files
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .collect()
}

#[test]
fn the_pages_are_the_same_each_time_and_hold_a_page_for_each_command() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        let ended = podkey(&["pages", folder.path().to_str().unwrap()]);
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "", ""));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // kubectl starts this file: it was written without the right to run it.
        let script = folders[0].path().join("completions/kubectl_complete-podkey");
        assert_eq!(fs::metadata(script).unwrap().permissions().mode() & 0o777, 0o755);
    }
    let [first, second] = folders.map(|folder| files(folder.path()));
    assert_eq!(first, second);
    for page in [
        "podkey",
        "podkey-explain",
        "podkey-doctor",
        "podkey-inject",
        "podkey-migrate-vault-action",
    ] {
        let text = &first[&format!("man/{page}.1")];
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
        let foot = concat!("\"podkey ", env!("CARGO_PKG_VERSION"), "\"");
        assert!(
            text.lines().any(|line| line.starts_with(".TH ") && line.contains(foot)),
            "{page}: {text}"
        );
    }
    assert!(
        !first
            .keys()
            .any(|name| name.contains("__complete") || name.contains("podkey-pages")),
        "{:?}",
        first.keys()
    );
    let scripts = first.keys().filter(|name| name.starts_with("completions/")).count();
    assert_eq!(scripts, 2 * SHELLS.len() + 1, "{:?}", first.keys());
    assert!(first["completions/kubectl_complete-podkey"].starts_with("#!/bin/sh\n"));
}
