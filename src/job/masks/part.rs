//! A part of a text that may be a secret. Every reader of a format returns its text as such parts.

use std::borrow::Cow;

/// A value or a line of a text, which may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SecretPart<'a> {
    /// The line in which the part begins, counted from 1.
    pub(super) line: usize,
    /// The name before a value. An element of a list has the list's name, or an empty name. None: the part is a line.
    pub(super) key: Option<Cow<'a, str>>,
    /// Whether the part is a line without structure. Otherwise the part is a value.
    pub(super) is_line: bool,
    pub(super) text: Cow<'a, str>,
    /// The text with its escapes, as written between the quotes. None: the text has no escapes.
    pub(super) spelled: Option<&'a str>,
}

impl<'a> SecretPart<'a> {
    pub(super) fn value(line: usize, key: impl Into<Cow<'a, str>>, text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            line,
            key: Some(key.into()),
            is_line: false,
            text: text.into(),
            spelled: None,
        }
    }

    pub(super) fn line(line: usize, text: &'a str) -> Self {
        Self {
            line,
            key: None,
            is_line: true,
            text: text.into(),
            spelled: None,
        }
    }

    /// Adds the text as written in the file.
    pub(super) fn spelled(self, spelled: &'a str) -> Self {
        let differs = spelled != self.text;
        Self {
            spelled: differs.then_some(spelled),
            ..self
        }
    }

    /// Whether the part is the value of a field of this name.
    pub(super) fn is_field(&self, name: &str) -> bool {
        self.key.as_deref() == Some(name)
    }
}
