//! One file that the author asks for, as an entry of `podkey.dev/files` names it.

use std::num::NonZeroU64;

use crate::inject::problem::quoted;
use crate::inject::words::keys::FILES;
use crate::plan::rules::{FileShape, ReadBy};
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

/// `podkey.dev/files[0]`, for messages.
pub(super) fn place(index: usize) -> String {
    format!("{FILES}[{index}]")
}

/// The message that `init` cannot read a path with a placeholder. `instead` says what to do. None: the path has no placeholder.
pub(crate) fn unfilled(path: &ApiPath, instead: &str) -> Option<String> {
    path.has_placeholder().then(|| {
        format!(
            "{} has a placeholder, which only the job can fill in: {instead}",
            quoted(path.as_str())
        )
    })
}
