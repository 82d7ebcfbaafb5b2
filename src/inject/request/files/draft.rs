//! What the fields of an entry are parsed into, and how the value of one field is parsed.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::inject::problem::{Problems, one_of, quoted, unquoted};
use crate::inject::request::files::file::{FileRequest, RequestedContent, place};
use crate::inject::request::requested::Requested;
use crate::inject::yaml::Node;
use crate::plan::rules::ReadBy;
use crate::plan::{
    ApiPath, Content, Data, Decode, Destination, Format, Invalid, Mode, Part, PathTemplate, SecretContent,
    SecretRequest, TemplateContent, WhenGone,
};

/// The fields that are parsed so far. A field that does not parse stays empty and is reported.
#[derive(Default)]
pub(super) struct FileDraft {
    pub(super) read_by: ReadBy,
    /// Whether the entry has a template, parsed or not, which names its secrets itself.
    pub(super) has_template: bool,
    pub(super) secret: Option<SecretSource>,
    pub(super) data: Option<Data>,
    pub(super) file: Option<Destination>,
    pub(super) part: Option<Part>,
    pub(super) decode: Decode,
    pub(super) format: Option<Format>,
    pub(super) delims: Requested<[String; 2]>,
    pub(super) template: Option<TemplateSource>,
    pub(super) mode: Option<Mode>,
    pub(super) version: Option<NonZeroU64>,
    pub(super) env: Option<String>,
    pub(super) when_gone: WhenGone,
}

/// The path of a secret, by who reads the secret (the field `as`).
pub(super) enum SecretSource {
    Init(ApiPath),
    Job(PathTemplate),
}

/// A template, by who reads its secrets.
pub(super) enum TemplateSource {
    Init(TemplateContent),
    Job(TemplateContent<PathTemplate>),
}

impl SecretSource {
    /// The path, with the placeholders of a job still in it.
    pub(super) fn path(&self) -> &ApiPath {
        match self {
            Self::Init(path) => path,
            Self::Job(path) => path.as_path(),
        }
    }
}

impl TemplateSource {
    /// Whether the template is text alone.
    pub(super) fn reads_nothing(&self) -> bool {
        match self {
            Self::Init(template) => template.requests().is_empty(),
            Self::Job(template) => template.requests().is_empty(),
        }
    }
}

impl FileDraft {
    /// The entry, if it has what an entry must have.
    pub(super) fn finish(self, index: usize) -> Option<FileRequest> {
        let file = self.file?;
        let part = self.part.unwrap_or(Part::Whole);
        let is_one_field = part.key().is_some() || matches!(file, Destination::EachField(_));
        let default_format = match is_one_field {
            true => Format::Raw,
            false => Format::Json,
        };
        let (version, data) = (self.version, self.data);
        let (decode, format) = (self.decode, self.format.unwrap_or(default_format));
        let content = match (self.template, self.secret) {
            (Some(TemplateSource::Init(template)), _) => RequestedContent::Init(Content::Template(template)),
            (Some(TemplateSource::Job(template)), _) => RequestedContent::Job(Content::Template(template)),
            (None, Some(SecretSource::Init(secret))) => RequestedContent::Init(Content::Secret(SecretContent {
                request: SecretRequest { secret, version, data },
                part,
                decode,
                format,
            })),
            (None, Some(SecretSource::Job(secret))) => RequestedContent::Job(Content::Secret(SecretContent {
                request: SecretRequest { secret, version, data },
                part,
                decode,
                format,
            })),
            (None, None) => return None,
        };
        Some(FileRequest {
            index,
            key: None,
            content,
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
    pub(super) fn text(&mut self) -> Option<Cow<'y, str>> {
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
