//! From the pod's annotations to an [`InjectionRequest`]: each value is parsed by the parser in the annotation's row.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::inject::pod::{Annotations, NotText};
use crate::inject::problem::{Problems, did_you_mean, one_of, quoted, unquoted};
use crate::inject::request::keys::{ANNOTATIONS, Annotation, FILES, INJECTED, PREFIX, ValueShape};
use crate::inject::request::{InjectionRequest, Requested};
use crate::plan::{Invalid, spelling};

/// The longest list of container names, in bytes.
const MAX_CONTAINERS_BYTES: usize = 4096;

/// Whether the author asks for anything at all.
pub(crate) fn asks(annotations: &Annotations<'_>) -> bool {
    annotations.ours.iter().any(|(name, _)| !is_injected(name))
}

/// Whether the pod carries the mark of this version of podkey.
pub(crate) fn says_injected(annotations: &Annotations<'_>) -> bool {
    let mut ours = annotations.ours.iter();
    ours.any(|(name, value)| is_injected(name) && value.as_deref() == Ok(crate::VERSION))
}

fn is_injected(name: &str) -> bool {
    INJECTED.strip_prefix(PREFIX) == Some(name)
}

/// Parses each of podkey's annotations, and reports what is wrong with any of them.
pub(crate) fn parse(annotations: &Annotations<'_>, problems: &mut Problems) -> InjectionRequest {
    let mut request = InjectionRequest::default();
    let mut names_secrets = false;
    if annotations.too_many {
        problems.push(PREFIX, format!("has more than {} annotations", annotations.ours.len()));
    }
    for (name, value) in &annotations.ours {
        let Some(annotation) = ANNOTATIONS.iter().find(|annotation| annotation.name == name) else {
            let hint = did_you_mean(name, ANNOTATIONS.iter().map(|annotation| annotation.name));
            problems.push(
                format!("{PREFIX}{}", unquoted(name)),
                format!("is not an annotation of podkey{hint}"),
            );
            continue;
        };
        names_secrets |= annotation.shape == ValueShape::Secrets;
        let mut value = AnnotationValue {
            annotation,
            value: value.as_deref().map_err(|shape| *shape),
            problems,
        };
        (annotation.parse)(&mut value, &mut request);
    }
    if !names_secrets {
        // A misspelt key is reported too, with the key that was meant.
        problems.push(
            FILES,
            "is missing: the pod has other annotations of podkey, but asks for no secret",
        );
    }
    request
}

/// The value of one annotation, for the annotation's parser.
pub(super) struct AnnotationValue<'a> {
    annotation: &'static Annotation,
    value: Result<&'a str, NotText>,
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

/// Parses the names of `podkey.dev/containers`.
pub(super) fn containers(value: &mut AnnotationValue<'_>, request: &mut InjectionRequest) {
    let Some(text) = value.text() else { return };
    if text.len() > MAX_CONTAINERS_BYTES {
        value.problem(format!("is longer than {MAX_CONTAINERS_BYTES} bytes"));
        request.containers = Some(Vec::new());
        return;
    }
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for name in text.split(',').map(str::trim) {
        if name.is_empty() {
            value.problem("has an empty name: write container names with commas between them");
        } else if seen.insert(name) {
            names.push(name.to_owned());
        }
    }
    request.containers = Some(names);
}
