//! One entry of `podkey.dev/files`: its fields are parsed one after the other, in the order of the table.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::str::FromStr;

use super::{FileRequest, SecretSource, place};
use crate::inject::check::rules::{Authored, EACH_FIELD, report};
use crate::inject::problem::{Problems, did_you_mean, one_of, quoted, unquoted};
use crate::inject::request::files::fields::FIELDS;
use crate::inject::request::yaml::Node;
use crate::plan::rules::{self, ReadBy, Subject, Violation};
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

/// Parses one entry. None: the entry has problems.
pub(super) fn parse(
    index: usize,
    mut written: Vec<(Cow<'_, str>, Node<'_>)>,
    problems: &mut Problems,
) -> Option<FileRequest> {
    let before = problems.len();
    let mut draft = Draft::default();
    for field in FIELDS {
        let name = field.documented.key;
        match written.iter().position(|(written, _)| written == name) {
            Some(at) => {
                let node = written.swap_remove(at).1;
                let value = FieldValue {
                    index,
                    name,
                    node,
                    problems,
                };
                (field.parse)(value, &mut draft);
            }
            None => {
                if let Some(what) = field.required {
                    problems.push(format!("{}.{name}", place(index)), format!("is missing: {what}"));
                }
            }
        }
    }
    for (name, _) in written {
        let hint = did_you_mean(&name, FIELDS.iter().map(|field| field.documented.key));
        problems.push(
            format!("{}.{}", place(index), unquoted(&name)),
            format!("is not a field of a file{hint}"),
        );
    }
    if problems.len() > before {
        return None;
    }
    let file = draft.finish(index)?;
    check_together(&file, problems);
    (problems.len() == before).then_some(file)
}

/// Reports fields of one entry that exclude or need each other.
fn check_together(file: &FileRequest, problems: &mut Problems) {
    let subject = Subject::File(0);
    let violations = rules::file(&file.shape()).map(|rule| Violation { subject, rule });
    let authored = Authored {
        files: std::slice::from_ref(file),
        on_change: &[],
    };
    report(violations, authored, problems);
    if file.env.is_none() {
        return;
    }
    let why = if matches!(file.file, Destination::EachField(_)) {
        EACH_FIELD
    } else if file.file.path().contains('$') {
        "cannot name a path with a $, which Kubernetes would expand"
    } else {
        return;
    };
    problems.push(format!("{}.env", file.place()), why);
}

impl Draft {
    fn finish(self, index: usize) -> Option<FileRequest> {
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
    index: usize,
    name: &'static str,
    pub(super) node: Node<'y>,
    problems: &'p mut Problems,
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
