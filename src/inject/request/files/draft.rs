//! What the fields of an entry are parsed into, and how the value of one field is parsed.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::inject::problem::{Problems, one_of, quoted, unquoted};
use crate::inject::request::files::file::{FileRequest, SecretSource, place};
use crate::inject::yaml::Node;
use crate::plan::rules::ReadBy;
use crate::plan::{Data, Decode, Destination, Format, Invalid, Mode, WhenGone};

/// The fields that are parsed so far. A field that does not parse stays empty and is reported.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) read_by: ReadBy,
    pub(super) secret: Option<SecretSource>,
    pub(super) data: Option<Data>,
    pub(super) file: Option<Destination>,
    pub(super) key: Option<String>,
    pub(super) decode: Decode,
    pub(super) format: Option<Format>,
    pub(super) mode: Option<Mode>,
    pub(super) version: Option<NonZeroU64>,
    pub(super) env: Option<String>,
    pub(super) when_gone: WhenGone,
}

impl Draft {
    /// The entry, if it has what an entry must have.
    pub(super) fn finish(self, index: usize) -> Option<FileRequest> {
        let file = self.file?;
        let is_one_field = self.key.is_some() || matches!(file, Destination::EachField(_));
        let default_format = match is_one_field {
            true => Format::Raw,
            false => Format::Json,
        };
        Some(FileRequest {
            index,
            secret: self.secret?,
            version: self.version,
            data: self.data,
            key: self.key,
            decode: self.decode,
            format: self.format.unwrap_or(default_format),
            file,
            mode: self.mode,
            env: self.env,
            when_gone: self.when_gone,
        })
    }
}

/// The value of one field, for the field's parser.
pub(super) struct FieldValue<'y, 'p> {
    pub(super) index: usize,
    pub(super) name: &'static str,
    pub(super) node: Node<'y>,
    pub(super) problems: &'p mut Problems,
}

impl<'y> FieldValue<'y, '_> {
    /// Reports what is wrong with the field.
    pub(super) fn problem(&mut self, message: impl Into<String>) {
        self.problems
            .push(format!("{}.{}", place(self.index), self.name), message);
    }

    /// Reports what is wrong with a part of the field's value.
    pub(super) fn problem_of(&mut self, part: &str, message: impl Into<String>) {
        let place = format!("{}.{}.{}", place(self.index), self.name, unquoted(part));
        self.problems.push(place, message);
    }

    /// The value, which has to be one text.
    fn text(&mut self) -> Option<Cow<'y, str>> {
        let why = match std::mem::replace(&mut self.node, Node::Null) {
            Node::Scalar(text) => return Some(text),
            Node::Null => "has no value",
            Node::List(_) => "is a list, and takes one text: write an entry of its own, with - in front, for each",
            Node::Map(_) => "is a set of fields, and takes one text: put a text that begins with { in quotes",
        };
        self.problem(why);
        None
    }

    /// The text, parsed by a function whose error ends a sentence that begins with the field.
    pub(super) fn checked<T>(&mut self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text()?;
        parse(&text).map_err(|why| self.problem(why)).ok()
    }

    /// The text, parsed by its type.
    pub(super) fn parsed<T: FromStr<Err = Invalid>>(&mut self) -> Option<T> {
        self.checked(|text| text.parse().map_err(|why| format!("{} {why}", quoted(text))))
    }

    /// One of fixed words.
    pub(super) fn one_of<T: FromStr>(&mut self, words: &[&str]) -> Option<T> {
        self.checked(|text| text.parse().map_err(|_| one_of(text, words)))
    }
}
