//! Text of others as one line, for a terminal and for the log of a workflow.

use super::{is_printable, without_commands_inside};

/// The text on one line, without control characters, and without commands for GitHub's runner inside.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_printable(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_unicode()),
        }
    }
    without_commands_inside(&shown)
}

/// The text as [`visible`] shows it, with spaces in place of line breaks and tabs, and cut after `max_chars`.
#[cfg(feature = "cli")]
pub(crate) fn visible_line(text: &str, max_chars: usize) -> String {
    let mut chars = text.trim().chars();
    let mut line: String = chars
        .by_ref()
        .take(max_chars)
        .map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c })
        .collect();
    if chars.next().is_some() {
        line.push('…');
    }
    visible(&line)
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_others_is_one_line_and_short() {
        assert_eq!(
            visible_line(" a\nb\t\u{1b}[2J\u{202e}##[group]\u{9b}1m ", 100),
            "a b \\u{1b}[2J\\u{202e}# #[group]\\u{9b}1m"
        );
        assert_eq!(visible_line(&"ä".repeat(500), 100).chars().count(), 101);
    }
}
