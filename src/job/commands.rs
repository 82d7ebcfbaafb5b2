//! Lines for the runner: workflow commands, and plain lines that the runner does not read as commands. The runner searches each line
//! of a hook's output for commands. A line ends at LF, CR LF and a lone CR.
//!
//! In a command's data `%`, CR and LF are escaped; in a property also `:` and `,`. The runner undoes `%25` last, so no text
//! becomes another escape when the runner reads the command.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>

use crate::text::{is_printable, without_commands_inside};

/// The level of an annotation, which GitHub shows at the step and on the summary page of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// People should read the annotation, but the job goes on.
    Warning,
    /// Why the job failed.
    Error,
}

/// Writes the command that makes the runner hide a text. The log does not show the command.
pub(crate) fn add_mask(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"::add-mask::");
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| matches!(b, b'%' | b'\r' | b'\n')) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'%' => b"%25",
            b'\r' => b"%0D",
            _ => b"%0A",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\n');
}

/// [`add_mask`] for a text without `%` and line breaks, such as base64.
pub(crate) fn add_plain_mask(text: &str, out: &mut Vec<u8>) {
    for part in ["::add-mask::", text, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// An annotation with a title: one line, with its line feed.
pub(crate) fn annotation(level: Level, title: &str, message: &str) -> String {
    let command = match level {
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let property = escaped(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{command} title={property}::{}\n", escaped(message))
}

/// A line of the log that the runner does not read as a command, whatever the text: control characters become spaces, and a command
/// in the text is split. The line never begins with `::`.
pub(crate) fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect();
    format!("podkey: {}\n", without_commands_inside(text.trim()))
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a line as the runner does (`ActionCommand.TryParseV2`): name, properties, data.
    fn read(line: &str) -> Option<(String, String, String)> {
        let undone = |text: &str, more: &[(&str, &str)]| {
            let mut text = text.replace("%0D", "\r").replace("%0A", "\n");
            for (escape, c) in more {
                text = text.replace(escape, c);
            }
            text.replace("%25", "%")
        };
        let (info, data) = line.trim_start().strip_prefix("::")?.split_once("::")?;
        let (name, properties) = info.split_once(' ').unwrap_or((info, ""));
        let known = ["add-mask", "notice", "warning", "error"].contains(&name);
        let value = properties.split_once('=').map_or("", |(_, value)| value);
        known.then(|| {
            (
                name.to_owned(),
                undone(value, &[("%3A", ":"), ("%2C", ",")]),
                undone(data, &[]),
            )
        })
    }

    fn mask(text: &str) -> String {
        let mut out = Vec::new();
        add_mask(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_runner_undoes_the_escapes_of_data() {
        // Case 43 of vault-action's tests.
        assert_eq!(mask("100%A"), "::add-mask::100%25A\n");
        assert_eq!(mask("a\r\nb%0A::error::"), "::add-mask::a%0D%0Ab%250A::error::\n");
        assert_eq!(
            annotation(Level::Error, "podkey 77: denied, login", "a\nb: c"),
            "::error title=podkey 77%3A denied%2C login::a%0Ab: c\n"
        );
    }

    #[test]
    fn a_plain_line_is_not_a_command() {
        for text in [
            "::error::x",
            "\r::add-mask::x",
            "##[add-mask]x",
            "a ##[set-env name=x]y",
            "\u{85}::x",
        ] {
            let line = plain(text);
            assert!(line.starts_with("podkey: ") && !line.contains("##["), "{line}");
            assert_eq!(line.matches(['\r', '\n']).count(), 1, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn the_runner_reads_every_text_unchanged_from_one_line(title in any::<String>(), text in any::<String>()) {
            let line = mask(&text);
            prop_assert!(!line[..line.len() - 1].contains(['\r', '\n']));
            prop_assert_eq!(&read(line.strip_suffix('\n').unwrap()).unwrap().2, &text);
            let line = annotation(Level::Warning, &title, &text);
            prop_assert!(!line[..line.len() - 1].contains(['\r', '\n']));
            // The runner drops white space around the properties.
            let line = line.strip_suffix('\n').unwrap();
            prop_assert_eq!(read(line), Some(("warning".to_owned(), title, text.clone())));
            prop_assert_eq!(read(&plain(&text)), None);
        }
    }
}
