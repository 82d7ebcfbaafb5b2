//! One entry of `podkey.dev/files`: its fields are parsed one after the other, in the order of the table.

use std::borrow::Cow;

use crate::inject::problem::{Problems, did_you_mean, unquoted};
use crate::inject::request::files::draft::{Draft, FieldValue};
use crate::inject::request::files::fields::FIELDS;
use crate::inject::request::files::file::{FileRequest, place};
use crate::inject::request::rules::{Authored, EACH_FIELD, report};
use crate::inject::yaml::Node;
use crate::plan::Destination;
use crate::plan::rules::{self, Subject, Violation};

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
