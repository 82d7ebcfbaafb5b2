//! What goes wrong in a template, and where.

use std::fmt;

/// The kind of an error: it decides the exit code and who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is no template.
    Syntax,
    /// The template asks for something that podkey does not offer.
    Refused,
    /// A field or an element does not exist.
    Missing,
    /// A value has the wrong type or content for what is done with it.
    Value,
    /// The template is too large, too deep, too slow, or makes too much.
    Bound,
}

/// An error with its place. The message holds names and types, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The kind of the error.
    pub kind: ErrorKind,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        if !self.hint.is_empty() {
            write!(f, ". {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for TemplateError {}

/// A problem whose place is not known yet: functions make it, the evaluator adds the place.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl Fault {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: String::new(),
        }
    }

    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Value, message)
    }

    pub(crate) fn syntax(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Syntax, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Missing, message)
    }

    pub(crate) fn bound(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bound, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds the place: a byte offset in the template's text.
    pub(crate) fn at(self, text: &str, offset: usize) -> TemplateError {
        let (line, column) = place(text, offset);
        TemplateError {
            kind: self.kind,
            line,
            column,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// Line and column, from 1, of a byte offset.
pub(crate) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    (line, before[start..].chars().count() + 1)
}
