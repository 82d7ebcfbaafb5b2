//! What the migrations print: the result for one file, and pieces of YAML.

use std::fmt::Write as _;

use crate::text::{COMMAND_ANYWHERE, has_command, without_commands_inside};

/// The result for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Migration {
    /// The instructions for a person.
    pub(crate) text: String,
    /// Whether podkey replaces everything that was there.
    pub(crate) is_complete: bool,
}

/// A text as a scalar of YAML.
pub(crate) fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_./:-".contains(&b))
        && !text.ends_with(':')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word));
    match is_plain {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// The longest line of a comment, in characters.
const MAX_COMMENT_CHARS: usize = 2_000;

/// One line of a comment, with its line end. Characters that could end the comment, or that a terminal obeys, are escaped.
pub(crate) fn comment(line: &str) -> String {
    let mut comment = "# ".to_owned();
    for c in line.chars().take(MAX_COMMENT_CHARS) {
        match crate::text::is_printable(c) {
            true => comment.push(c),
            false => comment.extend(c.escape_debug()),
        }
    }
    if line.chars().nth(MAX_COMMENT_CHARS).is_some() {
        comment.push('…');
    }
    comment.truncate(comment.trim_end().len());
    comment.push('\n');
    without_commands_inside(&comment)
}

/// A text of several lines as a scalar of YAML that has exactly these bytes: a block where YAML changes no byte and no line is a
/// command for GitHub's runner, else in quotes. The block's lines are indented by `by`.
pub(crate) fn exact(text: &str, by: usize) -> String {
    let first = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
    let is_block = text.contains('\n')
        && !first.is_empty()
        && !first.starts_with([' ', '\t'])
        && !text.ends_with("\n\n")
        && text.chars().all(|c| c == '\n' || c == '\t' || is_printable(c))
        && !has_command(text);
    if !is_block {
        return quoted(text);
    }
    let header = if text.ends_with('\n') { "|" } else { "|-" };
    text.lines().fold(header.to_owned(), |mut block, line| {
        block.push('\n');
        if !line.is_empty() {
            block.push_str(&" ".repeat(by));
            block.push_str(line);
        }
        block
    })
}

/// Whether YAML 1.1 and 1.2 leave the character alone in a block.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A text in double quotes, without commands for GitHub's runner inside. JSON leaves some characters as
/// they are that YAML takes for line breaks.
pub(crate) fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let quoted = json.chars().fold(String::new(), |mut quoted, c| {
        match is_printable(c) {
            true => quoted.push(c),
            false => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
        }
        quoted
    });
    quoted.replace(COMMAND_ANYWHERE, "#\\u0023[")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_one_line_whatever_is_in_it() {
        let hostile = "a\nb: c\r- d\u{85}e\u{2028}f\u{2029}\u{1b}[31m\u{202e}\u{feff}";
        let comment = comment(hostile);
        assert!(
            comment.starts_with("# a\\nb: c\\r- d") && comment.ends_with('\n'),
            "{comment}"
        );
        assert!(
            comment.trim_end_matches('\n').chars().all(crate::text::is_printable),
            "{comment:?}"
        );
        assert_eq!(
            super::comment(&"ä".repeat(9_000)).chars().count(),
            2 + MAX_COMMENT_CHARS + 2
        );
    }

    #[test]
    fn what_is_written_is_read_back_byte_for_byte() {
        for text in [
            "one line",
            "{{ with secret \"kv/x\" }}\nuser={{ .Data.user }}\n{{ end }}",
            "a\nb\n",
            "a\n\n\n  b\n \nc\n",
            "\na\n",
            "  a\nb\n",
            "\n  a\nb",
            "a\n\n",
            "a\r\nb\n",
            "a\tb\n\tc\n",
            "\ta\nb",
            "a\u{2028}b\nc\u{85}\u{feff}\u{7f}\n",
            "a: b # c\n- d\n--- \n...\n",
            "\n",
            "",
            "Zürich 🔑\n$(HOME)\n",
            "a\n ::add-mask::b\n",
            "a\nb ##[group]c\n",
            "::x",
            "a\u{fffe}\nb\u{ffff}",
            "###[a]##[b]",
        ] {
            let entry = format!("- file: a\n  template: {}\n", exact(text, 4));
            let annotation = format!("podkey.dev/files: {}\n", exact(&entry, 2));
            let outer: serde_json::Value = serde_saphyr::from_str(&annotation).unwrap();
            assert_eq!(outer["podkey.dev/files"], entry, "{annotation}");
            let is_command = |line: &str| line.trim_start().starts_with("::") || line.contains("##[");
            assert!(!annotation.lines().any(is_command), "for GitHub's runner: {annotation}");
            let inner: serde_json::Value = serde_saphyr::from_str(&entry).unwrap();
            assert_eq!(inner[0]["template"], text, "{entry}");
        }
    }
}
