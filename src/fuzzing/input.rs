//! What the doors share: the records of an input, and the law of messages.

use crate::plan::Format;

/// Every format of a file: an input chooses one by its number.
pub(super) const FORMATS: [Format; 6] = [
    Format::Raw,
    Format::Json,
    Format::Yaml,
    Format::Dotenv,
    Format::Shell,
    Format::Properties,
];

/// Between the records of an input that has several, such as a template and the secrets that it reads.
pub(super) const SEPARATOR: char = '\0';

/// The input as text. Parsers of text never see other bytes: their callers have checked them.
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The first record of an input, and the text behind it.
pub(super) fn first_record(text: &str) -> (&str, &str) {
    text.split_once(SEPARATOR).unwrap_or((text, ""))
}

/// Insists that a message is one line without control characters.
pub(super) fn insist_on_a_line(message: &str) {
    assert!(!message.is_empty(), "an empty message");
    assert!(!message.contains(char::is_control), "control characters: {message:?}");
}
