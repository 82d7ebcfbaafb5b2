//! The value of one annotation, with the ways to parse it that several annotations share.

use std::str::FromStr;

use crate::inject::pod::NotText;
use crate::inject::problem::{Problems, one_of, quoted};
use crate::inject::request::requested::Requested;
use crate::inject::words::keys::{Annotation, ValueShape};
use crate::plan::{Invalid, spelling};

/// The value of one annotation, for the annotation's parser.
pub(super) struct AnnotationValue<'a> {
    pub(super) annotation: &'static Annotation,
    pub(super) value: Result<&'a str, NotText>,
    pub(super) problems: &'a mut Problems,
}

impl<'a> AnnotationValue<'a> {
    /// Reports what is wrong with the value.
    pub(super) fn problem(&mut self, message: impl Into<String>) {
        self.problems.push(self.annotation.documented.key, message);
    }

    /// The value as text. A value that is no text is reported.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        match self.value {
            Ok(text) => Some(text),
            Err(no_text) => {
                self.problem(how_to_write(self.annotation, no_text));
                None
            }
        }
    }

    /// The value in one line: the last line break of a YAML block is not part of the value.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        self.text().map(str::trim)
    }

    /// The value, parsed by a parser that reports problems by itself.
    pub(super) fn parsed_by<T>(&mut self, parse: fn(&str, &mut Problems) -> T) -> Option<T> {
        let text = self.text()?;
        Some(parse(text, self.problems))
    }

    /// A word that other programs write in other ways; `spelling` recognises those.
    pub(super) fn spelled<T: FromStr<Err = Invalid>>(&mut self, spelling: fn(&str) -> Option<String>) -> Requested<T> {
        let parsed = self.word().and_then(|word| {
            spelling::parse(word, spelling)
                .map_err(|why| self.problem(format!("{} {why}", quoted(word))))
                .ok()
        });
        parsed.into()
    }

    /// One of fixed words.
    pub(super) fn one_of<T: FromStr>(&mut self, words: &[&str]) -> Requested<T> {
        let parsed = self
            .word()
            .and_then(|word| word.parse().map_err(|_| self.problem(one_of(word, words))).ok());
        parsed.into()
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self) -> Requested<bool> {
        self.one_of(&["true", "false"])
    }
}

/// Why an annotation's value is no text, and how to write what was meant.
fn how_to_write(annotation: &Annotation, no_text: NotText) -> String {
    let key = annotation.documented.key;
    let what = match no_text {
        NotText::List => "is a YAML list, and an annotation's value is one text",
        NotText::Map => "is a set of YAML fields, and an annotation's value is one text",
        NotText::Null => "has no value",
        NotText::Scalar => return "is not a text: put the value in quotes".to_owned(),
    };
    match (no_text, annotation.shape) {
        (_, ValueShape::Secrets | ValueShape::Lines) => {
            format!("{what}: write | after the key, as in `{key}: |`, and the value in the lines below, further in")
        }
        (NotText::List, ValueShape::Names) => format!("{what}: write the names with commas between them, in quotes"),
        (NotText::Null, _) => format!("{what}: write a value, or remove the key"),
        _ => format!("{what}: write one word, in quotes where it has braces"),
    }
}
