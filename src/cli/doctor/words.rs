//! Foreign texts in what the doctor prints: without control characters, short, and quoted for a shell.

use crate::cli::visible::is_harmless;
use crate::text::visible_line;

pub(super) use crate::cli::visible::shell_word as quote;

/// The longest message of a finding, in characters.
const MAX_MESSAGE_CHARS: usize = 1200;

/// The text on one line, without control characters and invisible characters, and cut.
pub(super) fn clean(text: &str) -> String {
    visible_line(text, MAX_MESSAGE_CHARS)
}

/// The command; it may have several lines. None: the command cannot be printed as it is, and another text would name other objects.
pub(super) fn printable_command(command: String) -> Option<String> {
    Some(command).filter(|command| is_harmless(command))
}

/// The words as a command of a POSIX shell.
pub(super) fn command(words: &[&str]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_the_cluster_cannot_run_a_command() {
        assert_eq!(command(&["kubectl", "get", "ns/web"]), "kubectl get ns/web");
        assert_eq!(command(&["a b", "", "$(id)", "it's"]), r"'a b' '' '$(id)' 'it'\''s'");
    }

    #[test]
    fn a_command_never_names_another_object_silently() {
        assert_eq!(command(&["get", "a\u{1b}b"]), r"get $'a\033b'");
        assert_eq!(printable_command("a\u{1b}b\nc".to_owned()), None);
        assert_eq!(printable_command("a\n ::group::x".to_owned()), None);
        assert_eq!(printable_command("a\nb".to_owned()).as_deref(), Some("a\nb"));
    }
}
