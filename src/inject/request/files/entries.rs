//! The list of `podkey.dev/files`: each entry is parsed alone, then the entries are held against each other.

use crate::inject::problem::{Problems, quoted};
use crate::inject::request::files::entry;
use crate::inject::request::files::file::{FileRequest, place};
use crate::inject::request::injection::InjectionRequest;
use crate::inject::request::rules::{Authored, report};
use crate::inject::request::value::AnnotationValue;
use crate::inject::words::keys::FILES;
use crate::inject::yaml::{self, Node};
use crate::plan::rules::{self, Subject};

/// Parses `podkey.dev/files`.
pub(in crate::inject::request) fn annotation(value: &mut AnnotationValue<'_>, request: &mut InjectionRequest) {
    let before = value.problems.len();
    request.files = value.parsed_by(parse).unwrap_or_default();
    request.files_are_incomplete = value.problems.len() > before;
}

/// Parses the annotation's text. Entries with a problem are left out of the result.
pub(super) fn parse(text: &str, problems: &mut Problems) -> Vec<FileRequest> {
    let entries = match yaml::parse(text) {
        Ok(Node::List(entries)) if !entries.is_empty() => entries,
        Ok(_) => {
            problems.push(FILES, "is not a list of files: begin each entry with \"- secret: …\"");
            return Vec::new();
        }
        Err(why) => {
            problems.push(FILES, why);
            return Vec::new();
        }
    };
    if let Some(violation) = rules::count(Subject::Plan, entries.len()) {
        report([violation].into_iter(), Authored::default(), problems);
        return Vec::new();
    }
    let mut files: Vec<FileRequest> = Vec::with_capacity(entries.len());
    for (index, node) in entries.into_iter().enumerate() {
        match node {
            Node::Map(fields) => files.extend(entry::parse(index, fields, problems)),
            _ => problems.push(place(index), "is not a set of fields, for example \"secret: …\""),
        }
    }
    let secrets = files.iter().map(|file| file.content.template_requests()).sum();
    let too_many = rules::count(Subject::Templates, secrets);
    report(too_many.into_iter(), Authored::default(), problems);
    let destinations = rules::destinations(files.iter().map(|file| &file.file));
    let authored = Authored {
        files: &files,
        on_change: &[],
    };
    report(destinations, authored, problems);
    check_env(&files, problems);
    // As in the plan: the files of the job come last.
    files.sort_by_key(FileRequest::is_for_job);
    files
}

/// Reports variables that are to hold the paths of two files.
fn check_env(files: &[FileRequest], problems: &mut Problems) {
    for (index, file) in files.iter().enumerate() {
        let Some(name) = &file.env else { continue };
        for other in files[..index].iter().filter(|other| other.env.as_ref() == Some(name)) {
            problems.push(
                file.place_of("env"),
                format!("{} is also set by {}", quoted(name), other.place()),
            );
        }
    }
}
