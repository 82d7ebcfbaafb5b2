//! What kubectl asks for the completion of `kubectl podkey …`: it starts `kubectl_complete-podkey` with the words after `podkey`, and reads
//! one candidate in each line, then a line with a directive.
//! <https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/#shell-completion>

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Arg, Args, Command};

use crate::cli::unusable;

/// The directives of <https://github.com/spf13/cobra/blob/main/site/content/completions/_index.md>: no files, and the shell's own choice.
const NO_FILES: &str = ":4";
const DEFAULT: &str = ":0";

/// The command line of `podkey __complete`.
#[derive(Debug, Args)]
pub struct PluginWordsArgs {
    /// The words after `kubectl podkey`; the last one is not complete
    #[arg(last = true, value_name = "WORD")]
    words: Vec<String>,
}

/// Prints the candidates for the last word.
pub fn run(args: &PluginWordsArgs, command: &Command) -> ExitCode {
    let candidates = candidates(&args.words, command);
    let directive = if candidates.is_empty() { DEFAULT } else { NO_FILES };
    let lines: String = candidates.iter().map(|candidate| format!("{candidate}\n")).collect();
    match writeln!(std::io::stdout().lock(), "{lines}{directive}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unusable(error),
    }
}

fn candidates(words: &[String], command: &Command) -> Vec<String> {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", words),
    };
    let mut command = command;
    for word in before {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let option = before
        .last()
        .and_then(|word| option(word, command))
        .filter(|option| option.get_action().takes_values());
    let mut all: Vec<String> = match option {
        Some(option) => values(option),
        None if last.starts_with('-') => {
            let shown = command.get_arguments().filter(|option| !option.is_hide_set());
            let longs = shown.filter_map(|option| option.get_long());
            longs.chain(["help"]).map(|long| format!("--{long}")).collect()
        }
        None => {
            let shown = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
            let names = shown.map(|subcommand| subcommand.get_name().to_owned());
            names.chain(command.get_positionals().flat_map(values)).collect()
        }
    };
    all.retain(|candidate| candidate.starts_with(last));
    all
}

/// The option of the command that the word names.
fn option<'a>(word: &str, command: &'a Command) -> Option<&'a Arg> {
    let short = word.strip_prefix('-').and_then(|short| short.parse::<char>().ok());
    let long = word.strip_prefix("--");
    command.get_arguments().find(|option| {
        (long.is_some() && option.get_long() == long) || (short.is_some() && option.get_short() == short)
    })
}

fn values(argument: &Arg) -> Vec<String> {
    argument
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect()
}
