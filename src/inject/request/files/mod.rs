//! The annotation `podkey.dev/files`: a YAML list, each entry a secret and the file that the secret goes to.

mod entry;
mod fields;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;

pub(crate) use self::fields::FIELDS;
use crate::inject::check::rules::{Authored, report};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::request::annotations::AnnotationValue;
use crate::inject::request::keys::FILES;
use crate::inject::request::yaml::{self, Node};
use crate::plan::rules::{self, FileShape, ReadBy, Subject};
use crate::plan::{ApiPath, Data, Decode, Destination, Format, Mode, PathTemplate, PlannedFile, WhenGone};

/// One entry, parsed. Nothing in it depends on the pod.
#[derive(Debug)]
pub(crate) struct FileRequest {
    /// Where the entry stands in the annotation, from 0.
    pub(crate) index: usize,
    pub(crate) secret: SecretSource,
    pub(crate) version: Option<NonZeroU64>,
    pub(crate) data: Option<Data>,
    pub(crate) key: Option<String>,
    pub(crate) decode: Decode,
    pub(crate) format: Format,
    pub(crate) file: Destination,
    /// None: the mode depends on who reads the file.
    pub(crate) mode: Option<Mode>,
    /// The variable that holds the file's path.
    pub(crate) env: Option<String>,
    pub(crate) when_gone: WhenGone,
}

/// The path of a secret, by who reads the secret (the field `as`).
#[derive(Debug)]
pub(crate) enum SecretSource {
    Init(ApiPath),
    Job(PathTemplate),
}

impl SecretSource {
    fn read_by(&self) -> ReadBy {
        match self {
            Self::Init(_) => ReadBy::Init,
            Self::Job(_) => ReadBy::Job,
        }
    }

    /// The path, with the placeholders of a job still in it.
    pub(crate) fn path(&self) -> &ApiPath {
        match self {
            Self::Init(path) => path,
            Self::Job(path) => path.as_path(),
        }
    }
}

impl FileRequest {
    /// The file in the plan, where `init` delivers it.
    pub(crate) fn for_init(&self, default_mode: Mode) -> Option<PlannedFile> {
        match &self.secret {
            SecretSource::Init(path) => Some(self.planned(path.clone(), default_mode)),
            SecretSource::Job(_) => None,
        }
    }

    /// The file in the plan, where the job reads the secret.
    pub(crate) fn for_job(&self, default_mode: Mode) -> Option<PlannedFile<PathTemplate>> {
        match &self.secret {
            SecretSource::Init(_) => None,
            SecretSource::Job(path) => Some(self.planned(path.clone(), default_mode)),
        }
    }

    fn planned<P>(&self, secret: P, default_mode: Mode) -> PlannedFile<P> {
        PlannedFile {
            secret,
            version: self.version,
            data: self.data.clone(),
            key: self.key.clone(),
            decode: self.decode,
            format: self.format,
            file: self.file.clone(),
            mode: self.mode.unwrap_or(default_mode),
            when_gone: self.when_gone,
        }
    }

    /// Whether the job reads the secret, and not `init`.
    pub(crate) fn is_for_job(&self) -> bool {
        self.secret.read_by() == ReadBy::Job
    }

    /// What the rules ask about the file.
    pub(crate) fn shape(&self) -> FileShape<'_> {
        FileShape {
            read_by: self.secret.read_by(),
            secret: self.secret.path(),
            has_version: self.version.is_some(),
            has_data: self.data.is_some(),
            has_key: self.key.is_some(),
            decode: self.decode,
            format: self.format,
            file: &self.file,
            when_gone: self.when_gone,
        }
    }

    /// `podkey.dev/files[0]`, for messages.
    pub(crate) fn place(&self) -> String {
        place(self.index)
    }
}

fn place(index: usize) -> String {
    format!("{FILES}[{index}]")
}

/// Parses `podkey.dev/files`.
pub(super) fn annotation(value: &mut AnnotationValue<'_>, request: &mut InjectionRequest) {
    let before = value.problems.len();
    request.files = value.parsed_by(parse).unwrap_or_default();
    request.files_are_incomplete = value.problems.len() > before;
}

/// Parses the annotation's text. Entries with a problem are left out of the result.
fn parse(text: &str, problems: &mut Problems) -> Vec<FileRequest> {
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
                format!("{}.env", file.place()),
                format!("{} is also set by {}", quoted(name), other.place()),
            );
        }
    }
}

/// That `init` cannot read the path, because it has a placeholder; `instead` is what to do.
pub(crate) fn unfilled(path: &ApiPath, instead: &str) -> Option<String> {
    path.has_placeholder().then(|| {
        format!(
            "{} has a placeholder, which only the job can fill in: {instead}",
            quoted(path.as_str())
        )
    })
}
