//! The reference pages about the programs: their command lines, from `--help`, and the agent's exit codes.

use std::fmt::Write as _;

use podkey::plan::ExitCode;
use serde_json::Value;

use crate::reference::{cell, named, page, text};
use crate::run;

pub(crate) fn exit_codes(entries: &[Value]) -> String {
    let mut page = page(
        "Exit codes",
        "How `podkey-agent` ends, in `podkey-init`, `podkey-sidecar` and the job hooks. `kubectl describe pod` shows the number; the \
         termination message and the log name the reason. `podkey doctor` looks for the cause.",
    );
    let commands = text(named(entries, "77 (denied)"), "example");
    let _ = write!(
        page,
        "\n```sh\n{}\n```\n\n| exit code | means |\n| --- | --- |\n",
        commands.trim_end()
    );
    for code in ExitCode::ALL {
        let heading = format!("{} ({})", code.number(), code.name());
        let anchor = crate::page::slug(&heading);
        let _ = writeln!(page, "| [{heading}](#{anchor}) | {} |", cell(code.meaning()));
    }
    for code in ExitCode::ALL {
        let (number, name) = (code.number(), code.name());
        let _ = write!(
            page,
            "\n## {number} ({name})\n\nMeans: {}.\n\nLook at: {}.\n",
            code.meaning(),
            code.remedy()
        );
    }
    let order: Vec<String> = ExitCode::BY_WEIGHT
        .iter()
        .map(|code| code.number().to_string())
        .collect();
    let _ = write!(
        page,
        "\n## Several problems\n\nOne message reports all problems, as many as fit into 1 KiB; in the log each has a line of its own. podkey \
         asks for each path once. The exit code is the first of {} that one of the problems has. Beside other problems, those that may pass \
         (69, 75) are left out.\n\nA gateway's 502, 503 or 504 counts as Vault being unreachable. After a refusal the agent may ask two things more, so \
         that the message says what to change: which engine is mounted there, and whether the role may write the path. The agent does not use a token with \
         `token_num_uses` for that.\n\n## Other programs\n\nThe exit codes of `podkey` are in the [command lines](cli.md). A code above 128 \
         that is not in the table is a signal's: 137 is SIGKILL, often because memory was short.\n",
        order.join(", ")
    );
    page
}

/// The commands with their own help, in the order of `podkey --help`.
pub(crate) fn cli() -> String {
    let mut page = page(
        "Command lines",
        "What each command of `podkey` and of `podkey-agent` takes, as `--help` prints it. `podkey` is also kubectl's plugin: \
         `kubectl podkey status` is `podkey status`. [The tool's guide](../tool/README.md) shows how to use the commands.",
    );
    let podkey = |args: &[&str]| help(env!("CARGO_BIN_EXE_podkey"), "podkey", args);
    let _ = write!(page, "\n## podkey\n\n```text\n{}```\n", podkey(&[]));
    for command in subcommands(&podkey(&[])) {
        let shown = podkey(&[&command]);
        let _ = write!(page, "\n## podkey {command}\n\n```text\n{shown}```\n");
        for below in subcommands(&shown) {
            let shown = podkey(&[&command, &below]);
            let _ = write!(page, "\n### podkey {command} {below}\n\n```text\n{shown}```\n");
        }
    }
    page.push_str(
        "\n## Exit codes of podkey\n\n| exit code | means |\n| --- | --- |\n\
         | 0 | good |\n| 1 | problems or faults were found |\n| 2 | a command line of `podkey serve` that cannot be used |\n\
         | 64 | a command line or an input that cannot be used |\n| 69 | a server that is needed cannot be reached |\n",
    );
    let agent = |args: &[&str]| help(env!("CARGO_BIN_EXE_podkey-agent"), "podkey-agent", args);
    let whole = agent(&[]);
    let (shown, _) = whole.split_once("\nExit codes:").unwrap();
    let _ = write!(
        page,
        "\n## podkey-agent\n\nThe program in the pod. podkey writes its command lines; people need them only to try it. Its exit codes are on \
         [a page of their own](exit-codes.md).\n\n```text\n{shown}```\n"
    );
    for command in subcommands(&whole) {
        let _ = write!(
            page,
            "\n### podkey-agent {command}\n\n```text\n{}```\n",
            agent(&[&command])
        );
    }
    page
}

fn help(program: &str, name: &str, args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = run(program, name, &[args, &["--help"]].concat(), folder.path());
    assert!(output.status.success(), "{name} {args:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The names below "Commands:", without `help`.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}
