//! What all commands have in common: who reads what where, colours, closed pipes, exit codes, and the name as a plugin.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::{Ended, command, ended, podkey};

/// The commands that people run, without `serve`.
const COMMANDS: [&str; 8] = [
    "inject",
    "lint",
    "migrate",
    "doctor",
    "status",
    "explain",
    "version",
    "completion",
];

/// A pod that gets 200 files, so that the injected pod does not fit into the pipe's buffer.
fn large_pod() -> String {
    let files: String = (0..200)
        .map(|n| format!("      - {{secret: kv/data/web-{n}, file: web-{n}.json}}\n"))
        .collect();
    let labels: String = (0..2000)
        .map(|n| format!("    label-{n}: {}\n", "x".repeat(60)))
        .collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  labels:\n{labels}  annotations:\n    podkey.dev/role: web\n    podkey.dev/files: |\n{files}spec:\n  containers: [{{name: web, image: web}}]\n"
    )
}

#[test]
fn no_command_complains_about_a_reader_that_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (config, pod) = (folder.path().join("config.yaml"), folder.path().join("pod.yaml"));
    fs::write(
        &config,
        "agent: {image: i}\nconnections: {default: {address: 'https://vault:8200'}}\n",
    )
    .unwrap();
    fs::write(&pod, large_pod()).unwrap();
    let workflow = folder.path().join("workflow.yml");
    let step = "on: push\njobs: {a: {runs-on: x, steps: [{uses: hashicorp/vault-action@v3, with: {url: 'https://v', secrets: 'kv/data/a b | B'}}]}}\n";
    fs::write(&workflow, step).unwrap();
    let (config, pod, workflow) = (
        config.to_str().unwrap(),
        pod.to_str().unwrap(),
        workflow.to_str().unwrap(),
    );
    let mut lines: Vec<Vec<&str>> = vec![
        vec!["inject", "--config", config, "-f", pod],
        vec!["inject", "--config", config, "-f", pod, "-o", "json"],
        vec!["inject", "--config", config, "-f", pod, "-o", "patch"],
        vec!["lint", pod],
        vec!["lint", "-o", "json", pod],
        vec!["migrate", "vault-action", workflow],
        vec!["migrate", "vault-k8s", "-f", pod],
        vec!["explain"],
        vec!["explain", "-o", "json"],
        vec!["explain", "files"],
        vec!["version"],
        vec!["version", "-o", "json"],
        vec!["completion", "bash"],
        vec!["completion", "zsh"],
        vec!["__complete", "--", ""],
        vec!["doctor", "--kubeconfig", "/nowhere"],
        vec!["--help"],
        vec!["--version"],
        vec!["help"],
        vec!["serve", "--help"],
    ];
    lines.extend(COMMANDS.map(|name| vec![name, "--help"]));
    for line in lines {
        let mut child = command(env!("CARGO_BIN_EXE_podkey"), &line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !stderr.contains("roken pipe") && !stderr.contains("panicked"),
            "{line:?}: {stderr}"
        );
        // 0: the few lines were written before the reader was gone. 1: migrate has told what remains. 141: as SIGPIPE shows in a shell.
        assert!(
            matches!(output.status.code(), Some(0 | 1 | 141)) || line[0] == "doctor",
            "{line:?}: {:?} {stderr}",
            output.status
        );
    }
}

#[test]
fn a_command_line_that_cannot_be_used_ends_with_64_and_says_why_on_standard_error() {
    let lines: [&[&str]; 8] = [
        &[],
        &["explian"],
        &["--nothing"],
        &["explain", "--nothing"],
        &["explain", "-o", "xml"],
        &["completion"],
        &["version", "x"],
        &["migrate"],
    ];
    for line in lines {
        let Ended { code, stdout, stderr } = podkey(line);
        assert_eq!((code, stdout.as_str()), (64, ""), "{line:?}: {stderr}");
        assert!(
            stderr.contains("Usage: podkey") || stderr.contains("try '--help'"),
            "{line:?}: {stderr}"
        );
    }
    assert!(
        podkey(&["explian"]).stderr.contains("'explain'"),
        "clap suggests the command"
    );
    // The word `serve` elsewhere is no command.
    for line in [
        &["lint", "serve", "--bogus"][..],
        &["explain", "--bogus", "serve"],
        &["--log-format", "serve", "lint", "--bogus"],
    ] {
        assert_eq!(podkey(line).code, 64, "{line:?}");
    }
    // As it was before the other commands: what starts podkey in a cluster may look at the code.
    for line in [
        &["serve", "--nothing"][..],
        &["--log-format", "json", "serve", "--nothing"],
        &["--log-format=json", "serve", "--nothing"],
        &["serve", "--log-format", "json", "--nothing"],
    ] {
        assert_eq!(podkey(line).code, 2, "{line:?}");
    }
}

#[test]
fn help_goes_to_standard_output_with_an_example() {
    for name in COMMANDS {
        let Ended { code, stdout, stderr } = podkey(&[name, "--help"]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}");
        assert!(stdout.contains(&format!("Usage: podkey {name}")), "{stdout}");
    }
    let help = podkey(&["--help"]).stdout;
    for name in COMMANDS {
        assert!(help.contains(&format!("\n  {name} ")), "{name}: {help}");
    }
    assert!(
        help.contains("Examples:\n") && !help.contains("__complete") && !help.contains("  pages"),
        "{help}"
    );
    for name in ["explain", "completion"] {
        assert!(podkey(&[name, "--help"]).stdout.contains("Examples:\n  "), "{name}");
    }
}

#[test]
fn the_program_named_kubectl_podkey_shows_itself_as_the_plugin() {
    let plugin = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podkey"));
        command
            .arg0("/usr/local/bin/kubectl-podkey")
            .args(args)
            .stdin(Stdio::null());
        ended(command)
    };
    let help = plugin(&["--help"]).stdout;
    assert!(help.contains("Usage: kubectl podkey [OPTIONS] <COMMAND>"), "{help}");
    let help = plugin(&["explain", "--help"]).stdout;
    assert!(help.contains("Usage: kubectl podkey explain"), "{help}");
    let wrong = plugin(&["explain", "-o", "xml"]).stderr;
    assert!(wrong.contains("[possible values: text, json]"), "{wrong}");
    let wrong = plugin(&["version", "x"]).stderr;
    assert!(wrong.contains("Usage: kubectl podkey version"), "{wrong}");
    assert_eq!(plugin(&["explain", "exit", "77"]).code, 0);
    // Where the plugin alone is installed, there is no program podkey.
    for line in [
        &["--help"][..],
        &["doctor", "--help"],
        &["migrate", "--help"],
        &["migrate", "vault-k8s", "--help"],
        &["explain"],
        &["explain", "xyzzy"],
    ] {
        let said = plugin(line);
        let said = (said.stdout + &said.stderr).replace("kubectl podkey ", "");
        let alone: Vec<_> = said
            .lines()
            .filter(|line| {
                line.contains("  podkey ") || line.contains("`podkey ") || line.starts_with("podkey explain")
            })
            .collect();
        assert!(alone.is_empty(), "{line:?}: {alone:?}");
    }
}

/// What podkey prints on a terminal: `script` gives podkey one.
fn on_a_terminal(line: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("script");
    command.args([
        "--quiet",
        "--return",
        "--command",
        &format!("{} {line}", env!("CARGO_BIN_EXE_podkey")),
        "/dev/null",
    ]);
    command
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR")
        .env_remove("CLICOLOR_FORCE")
        // In continuous integration even a dumb terminal gets colours: its log shows them.
        .env_remove("CI")
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    String::from_utf8(command.output().expect("script, of util-linux").stdout).unwrap()
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let escape = '\u{1b}';
    for line in ["explain refresh", "--help"] {
        let words: Vec<_> = line.split(' ').collect();
        assert!(!podkey(&words).stdout.contains(escape), "{line}");
        assert!(on_a_terminal(line, &[]).contains(escape), "{line}");
        assert!(!on_a_terminal(line, &[("NO_COLOR", "1")]).contains(escape), "{line}");
        assert!(!on_a_terminal(line, &[("TERM", "dumb")]).contains(escape), "{line}");
    }
}
