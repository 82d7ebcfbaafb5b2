//! The parts of a text that may be secrets, as every reader of a format gives them.

use std::borrow::Cow;

/// A part of a text that may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// In which line it begins, from 1.
    pub(super) line: usize,
    /// The name that stands before it; an element of a list has its list's, or an empty one.
    pub(super) key: Option<Cow<'a, str>>,
    /// A line without structure, as opposed to a value.
    pub(super) is_line: bool,
    pub(super) text: Cow<'a, str>,
    /// How the text stands in the file, where that is not the text: with escapes, without the quotes around it.
    pub(super) spelled: Option<&'a str>,
}

impl<'a> Piece<'a> {
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

    /// With the text as it stands in the file.
    pub(super) fn spelled(self, spelled: &'a str) -> Self {
        let differs = spelled != self.text;
        Self {
            spelled: differs.then_some(spelled),
            ..self
        }
    }

    /// Whether it is the value of a field of this name.
    pub(super) fn is_field(&self, name: &str) -> bool {
        self.key.as_deref() == Some(name)
    }
}
