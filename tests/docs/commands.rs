//! Command lines in the pages: those of podkey parse with podkey's own parser, and those of make name a target.

use std::fs;
use std::path::Path;

use crate::page::Page;
use crate::{root, run, shell};

/// The languages of blocks with command lines.
const SHELLS: [&str; 4] = ["sh", "bash", "shell", "console"];
/// How a message of the parser about a command line ends. Other failures are those of a world without files and servers.
const USAGE: &str = "For more information, try";
/// What a command can stand behind.
const BEFORE: [&str; 5] = ["sudo", "time", "exec", "watch", "env"];

/// The command lines that do not parse.
pub(crate) fn problems(pages: &[Page]) -> Vec<String> {
    let targets = targets();
    let folder = tempfile::tempdir().unwrap();
    let mut problems = Vec::new();
    for page in pages {
        for block in page.blocks() {
            if !SHELLS.contains(&block.language.as_str()) || block.not_checked.is_some() {
                continue;
            }
            let text = match block.language.as_str() {
                // What is not behind a prompt is output.
                "console" => prompted(&block.text),
                _ => block.text,
            };
            for (line, words) in shell::commands(&text) {
                if let Some(why) = problem(&words, &targets, folder.path()) {
                    let at = block.line + line;
                    problems.push(format!("{}:{at}: {}: {why}", page.path, words.join(" ")));
                }
            }
        }
    }
    problems
}

/// The text with nothing in the lines without a prompt. A command goes on behind a backslash.
fn prompted(text: &str) -> String {
    let mut goes_on = false;
    let lines = text.lines().map(|line| {
        let is_command = goes_on || line.starts_with("$ ");
        goes_on = is_command && line.ends_with('\\');
        if is_command { line } else { "" }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn problem(words: &[String], targets: &[String], folder: &Path) -> Option<String> {
    let is_before = |word: &String| BEFORE.contains(&word.as_str()) || is_assignment(word);
    let words: Vec<&str> = words
        .iter()
        .skip_while(|word| is_before(word))
        .map(String::as_str)
        .collect();
    let (program, args) = words.split_first()?;
    match (program.rsplit('/').next()?, args) {
        ("podkey", args) => unparsed(env!("CARGO_BIN_EXE_podkey"), "podkey", args, folder),
        ("kubectl-podkey", args) | ("kubectl", ["podkey", args @ ..]) => {
            unparsed(env!("CARGO_BIN_EXE_podkey"), "kubectl-podkey", args, folder)
        }
        ("podkey-agent", args) => unparsed(env!("CARGO_BIN_EXE_podkey-agent"), "podkey-agent", args, folder),
        ("make", args) => no_target(args, targets),
        _ => None,
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    })
}

/// A word that stands for a name, as POD does, as a name.
fn filled_in(word: &str) -> String {
    let is_placeholder = word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_uppercase() || "-_…".contains(c));
    if is_placeholder {
        word.to_lowercase().replace(['_', '…'], "")
    } else {
        word.to_owned()
    }
}

/// What the parser says of the command line, if it does not parse.
fn unparsed(program: &str, name: &str, args: &[&str], folder: &Path) -> Option<String> {
    let args: Vec<String> = args.iter().map(|word| filled_in(word)).collect();
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    // `exec` becomes the command behind `--`: no page's command is run.
    let nothing = folder.join("no-such-program").display().to_string();
    if let Some(at) = args
        .iter()
        .position(|word| *word == "--")
        .filter(|at| args[..*at].contains(&"exec"))
        && at + 1 < args.len()
    {
        args.splice(at + 1.., [nothing.as_str()]);
    }
    let output = run(program, name, &args, folder);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_usage = !output.status.success() && said.contains(USAGE);
    is_usage.then(|| said.lines().next().unwrap_or_default().to_owned())
}

fn no_target(args: &[&str], targets: &[String]) -> Option<String> {
    let named = args.iter().filter(|arg| !arg.starts_with('-') && !arg.contains('='));
    let unknown: Vec<_> = named
        .filter(|arg| !targets.iter().any(|target| target == *arg))
        .collect();
    (!unknown.is_empty()).then(|| format!("the Makefile has no target {unknown:?}"))
}

/// The targets of the Makefile.
fn targets() -> Vec<String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let rules = makefile.lines().filter(|line| !line.starts_with(['\t', '#', ' ']));
    let targets = rules.filter_map(|line| {
        let (targets, rest) = line.split_once(':')?;
        (!rest.starts_with('=')).then_some(targets)
    });
    targets.flat_map(str::split_whitespace).map(str::to_owned).collect()
}
