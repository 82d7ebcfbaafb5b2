//! Text that others wrote, for a terminal and for the log of a workflow.

use crate::text::{has_command, is_printable};

pub(super) use crate::text::visible;

/// The name of a file. A line that begins with this name begins with no command of GitHub's runner, which are `::NAME::`.
pub(super) fn visible_path(path: &std::path::Path) -> String {
    let shown = path.display().to_string();
    // GitHub finds the file by this name.
    let shown = visible(
        shown
            .strip_prefix("./")
            .filter(|rest| !rest.is_empty())
            .unwrap_or(&shown),
    );
    match shown.trim_start().starts_with("::") {
        true => format!("./{}", shown.trim_start()),
        false => shown,
    }
}

/// A word for a shell: in quotes where a shell would take it apart. A text that must not be printed as it is becomes `$'…'`, which bash,
/// ksh and zsh read.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@+,%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    if is_harmless(text) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut word = String::from("$'");
    for c in text.chars() {
        let bytes = c.encode_utf8(&mut [0; 4]).as_bytes().to_vec();
        match c {
            '\\' => word.push_str(r"\\"),
            '\'' => word.push_str(r"\047"),
            // Without `#`, nothing is a command of GitHub's runner.
            '#' => word.push_str(r"\043"),
            c if is_printable(c) => word.push(c),
            _ => word.extend(bytes.iter().map(|byte| format!("\\{byte:03o}"))),
        }
    }
    word.push('\'');
    word
}

/// Whether a text of several lines, each printed as it is, steers neither the terminal nor GitHub's runner.
pub(super) fn is_harmless(lines: &str) -> bool {
    lines.chars().all(|c| c == '\n' || is_printable(c)) && !has_command(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_begins_no_line_and_no_command() {
        assert_eq!(
            visible("a\n::set-env name=A::b\u{1b}[31m"),
            "a\\u{a}::set-env name=A::b\\u{1b}[31m"
        );
        assert_eq!(visible("##[add-path]x"), "# #[add-path]x");
        assert_eq!(
            visible_path(" ::stop-commands::x.yaml".as_ref()),
            "./::stop-commands::x.yaml"
        );
        assert_eq!(visible_path("./charts/web.yaml".as_ref()), "charts/web.yaml");
        assert_eq!(shell_word("a b'c"), r"'a b'\''c'");
        assert_eq!(shell_word("charts/web"), "charts/web");
    }

    /// The word as bash reads it.
    fn read_by_bash(word: &str) -> Option<String> {
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["-c", &format!("printf %s {word}")]).output().ok()?;
        String::from_utf8(output.stdout).ok()
    }

    #[test]
    fn a_word_in_a_command_names_the_same_object_whatever_its_characters() {
        for text in [
            "a\u{1b}[2Jb",
            "x\u{202e}y",
            "##[group]x",
            "a\n::stop-commands::b",
            "it's\\n\u{7}1",
            "a\nb",
            "$(id)",
            "",
        ] {
            let word = shell_word(text);
            assert!(is_harmless(&word), "{word}");
            if let Some(read) = read_by_bash(&word) {
                assert_eq!(read, text, "{word}");
            }
        }
        assert_eq!(shell_word("a\u{1b}1"), r"$'a\0331'");
    }
}
