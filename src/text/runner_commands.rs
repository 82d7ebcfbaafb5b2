//! What GitHub's runner takes for a command in the output of a step (<https://github.com/actions/runner>,
//! `src/Runner.Common/ActionCommand.cs`): a line that begins with `::`, and `##[` anywhere in a line.

/// The beginning of a command that may stand anywhere in a line.
pub(crate) const COMMAND_ANYWHERE: &str = "##[";

/// The text without [`COMMAND_ANYWHERE`]. A line of the text may still begin with `::`.
pub(crate) fn without_commands_inside(text: &str) -> String {
    text.replace(COMMAND_ANYWHERE, "# #[")
}

/// Whether a line of the text is a command, or has one inside.
#[cfg(feature = "webhook")]
pub(crate) fn has_command(text: &str) -> bool {
    text.contains(COMMAND_ANYWHERE) || text.lines().any(|line| line.trim_start().starts_with("::"))
}
