//! Rules about text for webhook and agent: which characters are visible, what GitHub's runner takes for a command, which names
//! variables may have, how messages quote a value, and which known word a misspelt word is near to.

mod nearest;
mod runner_commands;
#[cfg(feature = "agent")]
mod steering;
mod variables;
#[cfg(feature = "webhook")]
mod visible;

pub(crate) use self::nearest::nearest;
pub(crate) use self::runner_commands::without_commands_inside;
#[cfg(feature = "webhook")]
pub(crate) use self::runner_commands::{COMMAND_ANYWHERE, has_command};
#[cfg(feature = "agent")]
pub use self::steering::WILDCARD_RULES;
#[cfg(feature = "agent")]
pub(crate) use self::steering::steers;
#[cfg(any(feature = "cli", test))]
pub(crate) use self::variables::reserved;
pub(crate) use self::variables::{is_runners, takes_over};
#[cfg(feature = "webhook")]
pub(crate) use self::visible::visible;
#[cfg(feature = "cli")]
pub(crate) use self::visible::visible_line;

/// Whether the character is visible or a space: not a control character, not a line or paragraph separator, and not an invisible
/// character that makes two texts look equal or changes the direction of the following text.
pub(crate) fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Whether every shell accepts the name: `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The longest value in a message, in characters.
const MAX_QUOTED_CHARS: usize = 64;

/// An author's value for a message: in quotes, with control characters escaped, cut after [`MAX_QUOTED_CHARS`].
pub(crate) fn quoted(value: &str) -> String {
    match value.char_indices().nth(MAX_QUOTED_CHARS) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}…", &value[..end]),
    }
}

/// An author's key for a message: without quotes, with control characters escaped, cut after [`MAX_QUOTED_CHARS`].
pub(crate) fn unquoted(key: &str) -> String {
    let mut chars = key.chars();
    let mut text: String = chars
        .by_ref()
        .take(MAX_QUOTED_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_messages_are_short_and_on_one_line() {
        assert_eq!(quoted("a\n\u{1b}[31m"), r#""a\n\u{1b}[31m""#);
        assert_eq!(quoted(&"ä".repeat(1000)).chars().count(), 67);
    }

    #[test]
    fn invisible_characters_are_not_printable() {
        assert!("aä €\u{a0}".chars().all(is_printable));
        assert!(
            !"\n\u{1b}\u{ad}\u{200b}\u{2028}\u{202e}\u{2066}\u{feff}\u{fffa}"
                .chars()
                .any(is_printable)
        );
    }

    #[test]
    fn names_that_every_shell_accepts() {
        for name in ["A", "_", "a1_B"] {
            assert!(is_variable_name(name), "{name}");
        }
        for name in ["", "1A", "A-B", "A.B", "Ä", "A=B", "A ", "A\n"] {
            assert!(!is_variable_name(name), "{name:?}");
        }
    }
}
