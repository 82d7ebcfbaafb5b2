//! The steps that may read a variable without its name in the workflow: a program or an action reads what it wants from its environment.

use super::placed::Placed;
use super::workflow::WorkflowStep;

/// Words of a shell, and programs that read no variable of a secret's name by themselves.
const PROGRAMS: [&str; 44] = [
    "!",
    "[",
    "[[",
    "{",
    "}",
    "do",
    "done",
    "elif",
    "else",
    "fi",
    "for",
    "if",
    "then",
    "while",
    ":",
    "base64",
    "cat",
    "cd",
    "chmod",
    "chown",
    "cp",
    "cut",
    "echo",
    "exit",
    "export",
    "false",
    "grep",
    "head",
    "install",
    "kubectl",
    "ls",
    "mkdir",
    "mv",
    "openssl",
    "printf",
    "rm",
    "scp",
    "set",
    "sleep",
    "ssh",
    "ssh-keyscan",
    "tee",
    "touch",
    "true",
];
/// Words behind which another command begins.
const OPENING: [&str; 8] = ["!", "{", "do", "elif", "else", "if", "then", "while"];

/// Actions that read no variable of a secret's name by themselves.
const ACTIONS: [&str; 12] = [
    "actions/cache",
    "actions/checkout",
    "actions/download-artifact",
    "actions/setup-go",
    "actions/setup-java",
    "actions/setup-node",
    "actions/setup-python",
    "actions/upload-artifact",
    "azure/k8s-set-context",
    "azure/setup-helm",
    "azure/setup-kubectl",
    "hashicorp/vault-action",
];

/// The first action or command that may read any variable, with its place.
pub(super) fn first<'a>(
    steps: impl Iterator<Item = (usize, String, &'a WorkflowStep)>,
    commands: &[Placed<'_>],
) -> Option<(String, String)> {
    let is_known = |action: &str| ACTIONS.iter().any(|known| known.eq_ignore_ascii_case(action));
    let action = steps
        .filter_map(|(_, place, step)| Some((place, step.action()?)))
        .find(|(_, action)| !is_known(action))
        .map(|(place, action)| (place, action.to_owned()));
    action.or_else(|| {
        commands
            .iter()
            .find(|placed| reads_any(placed))
            .map(|placed| (placed.place.clone(), placed.command.text.clone()))
    })
}

/// Whether the command may read any variable: it runs a program that is not known, or something that the scan does not take apart.
pub(super) fn reads_any(placed: &Placed<'_>) -> bool {
    let text = &placed.command.text;
    if placed.command.assignment().is_some() && !text.contains("$(") {
        return false;
    }
    // `<(`, `$(` and `&` begin commands inside of the command.
    if text.contains(['`', '(']) || text.replace("2>&1", "").contains('&') {
        return true;
    }
    placed.command.pipeline().iter().any(|words| {
        let is_assignment = |word: &str| {
            word.split_once('=')
                .is_some_and(|(name, _)| crate::text::is_variable_name(name))
        };
        let mut words = words.iter().map(String::as_str);
        let program = words.find(|word| !OPENING.contains(word) && !is_assignment(word) && *word != "sudo");
        program.is_some_and(|program| !PROGRAMS.contains(&program))
    })
}
