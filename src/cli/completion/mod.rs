//! `podkey completion`: what shells need to complete podkey's command lines. Also `podkey pages`, hidden, with which `make dist` writes
//! the manual pages and all completions, and `podkey __complete`, hidden, which kubectl asks for a plugin's completions.

mod plugin;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::unusable;
use crate::VERSION;

pub use plugin::{PluginWordsArgs, run as complete_plugin};

/// podkey as a program of its own.
pub const PROGRAM: &str = "podkey";
/// podkey as a plugin of kubectl: `kubectl podkey`.
pub const PLUGIN: &str = "kubectl-podkey";
const CALLED_AS_PLUGIN: &str = "kubectl podkey";
/// The program that kubectl starts for the completion of the plugin's command line.
/// <https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/#shell-completion>
const PLUGIN_COMPLETION: &str = "kubectl_complete-podkey";

/// The name by which the program was started: [`PROGRAM`] or [`PLUGIN`].
pub fn program() -> &'static str {
    let path = std::env::args_os().next().map(PathBuf::from);
    match path.as_deref().and_then(Path::file_stem) {
        Some(name) if name == PLUGIN => PLUGIN,
        _ => PROGRAM,
    }
}

/// How people call this program: `podkey`, or `kubectl podkey`.
pub(super) fn called() -> &'static str {
    match program() {
        PLUGIN => CALLED_AS_PLUGIN,
        other => other,
    }
}

/// The command of the plugin: its examples show how people call the plugin.
pub fn of_plugin(command: Command) -> Command {
    let examples = command.get_after_help().map(|text| {
        let text = text.to_string().replace(CALLED_AS_PLUGIN, PROGRAM);
        text.replace("podkey ", "kubectl podkey ")
    });
    let command = match examples {
        Some(examples) => command.after_help(examples),
        None => command,
    };
    command.mut_subcommands(of_plugin)
}

const EXAMPLES: &str = "\
Examples:
  source <(podkey completion bash)
  podkey completion zsh >~/.zfunc/_podkey
  podkey completion fish >~/.config/fish/completions/podkey.fish";

/// The command line of `podkey completion`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script that teaches the shell the command line of `program`.
pub fn run(args: &CompletionArgs, command: &Command, program: &str) -> ExitCode {
    let mut script = Vec::new();
    generate(args.shell, &mut shown(command), program, &mut script);
    match std::io::stdout().lock().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unusable(error),
    }
}

/// The command without its hidden commands, which clap would complete, too.
fn shown(command: &Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    let after_help = command.get_after_help().cloned().unwrap_or_default();
    Command::new(PROGRAM)
        .version(VERSION)
        .about(about)
        .after_help(after_help)
        .args(command.get_arguments())
        .subcommands(
            command
                .get_subcommands()
                .filter(|command| !command.is_hide_set())
                .cloned(),
        )
}

/// The command line of `podkey pages`.
#[derive(Debug, Args)]
pub struct PagesArgs {
    /// The folder, in which `man` and `completions` are made
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Writes the manual pages, and the completions for each shell and both names of the program.
pub fn write_pages(args: &PagesArgs, command: &Command) -> ExitCode {
    match pages(&args.folder, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unusable(error),
    }
}

fn pages(folder: &Path, command: &Command) -> anyhow::Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for made in [&man, &completions] {
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    let command = shown(command);
    let mut built = command.clone().disable_help_subcommand(true);
    built.build();
    write_manual(&built, &man).with_context(|| format!("cannot write to {}", man.display()))?;
    for program in [PROGRAM, PLUGIN] {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            clap_complete::generate_to(shell, &mut command.clone(), program, &completions)
                .with_context(|| format!("cannot write to {}", completions.display()))?;
        }
    }
    let script = completions.join(PLUGIN_COMPLETION);
    let text = format!(
        "#!/bin/sh\n# kubectl starts this program, if it is in PATH, for: kubectl podkey <TAB>\nexec {PLUGIN} __complete -- \"$@\"\n"
    );
    fs::write(&script, text)
        .and_then(|()| make_executable(&script))
        .with_context(|| format!("cannot write {}", script.display()))
}

/// Writes the pages of the command and of all commands below.
fn write_manual(command: &Command, folder: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands() {
        write_manual(below, folder)?;
    }
    let page = Man::new(command.clone()).source(format!("{PROGRAM} {VERSION}"));
    page.generate_to(folder).map(drop)
}

#[cfg(unix)]
fn make_executable(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_file: &Path) -> std::io::Result<()> {
    Ok(())
}
