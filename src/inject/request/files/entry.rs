//! One entry of `podkey.dev/files`: its fields are parsed one after the other, in the order of the table.

use std::borrow::Cow;

use crate::inject::problem::{Problems, did_you_mean, unquoted};
use crate::inject::request::files::draft::{FieldValue, FileDraft};
use crate::inject::request::files::fields::{DELIMS, FIELDS, OF_ONE_SECRET, SECRET};
use crate::inject::request::files::file::{FileRequest, TEMPLATE, place};
use crate::inject::request::rules::{Authored, EACH_FIELD, report};
use crate::inject::yaml::Node;
use crate::plan::Destination;
use crate::plan::rules;

/// Parses one entry. None: the entry has problems.
pub(super) fn parse(
    index: usize,
    mut written: Vec<(Cow<'_, str>, Node<'_>)>,
    problems: &mut Problems,
) -> Option<FileRequest> {
    let before = problems.len();
    let mut draft = FileDraft {
        has_template: written.iter().any(|(field, _)| field == TEMPLATE),
        ..FileDraft::default()
    };
    check_alternatives(index, &written, problems);
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

/// Reports an entry that names no secret, fields that a template takes the place of, and delimiters of no template.
fn check_alternatives(index: usize, written: &[(Cow<'_, str>, Node<'_>)], problems: &mut Problems) {
    let has = |field: &str| written.iter().any(|(written, _)| written == field);
    if !has(TEMPLATE) {
        if !has(SECRET) {
            problems.push(
                format!("{}.{SECRET}", place(index)),
                "is missing: the path to read, as in `vault read` (or `template`, for a text with values of any secrets)",
            );
        }
        if has(DELIMS) {
            problems.push(
                format!("{}.{DELIMS}", place(index)),
                "is for `template`, and the entry has none: remove it",
            );
        }
        return;
    }
    for field in OF_ONE_SECRET.into_iter().filter(|field| has(field)) {
        problems.push(
            format!("{}.{field}", place(index)),
            "cannot be beside `template`, which names its secrets and fields itself: remove one of the two",
        );
    }
}

/// Reports fields of one entry that exclude or need each other.
fn check_together(file: &FileRequest, problems: &mut Problems) {
    let violations = rules::file(0, file.shape(), file.requests());
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
    problems.push(file.place_of("env"), why);
}
