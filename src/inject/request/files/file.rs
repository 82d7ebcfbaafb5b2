//! One file that the author asks for, as an entry of `podkey.dev/files` names it.

use crate::inject::problem::quoted;
use crate::inject::words::keys::FILES;
use crate::plan::rules::{ContentShape, FileShape, ReadBy, RequestShape};
use crate::plan::{ApiPath, Content, Destination, Mode, Part, PathTemplate, PlannedFile, WhenGone};

/// The field that names its secrets itself.
pub(super) const TEMPLATE: &str = "template";

/// One entry, parsed. Nothing in it depends on the pod.
#[derive(Debug)]
pub(crate) struct FileRequest {
    /// Where the entry stands in the annotation, from 0.
    pub(crate) index: usize,
    /// The annotation that asks for this file alone. None: the file is an entry of `podkey.dev/files`.
    pub(crate) key: Option<String>,
    pub(crate) content: RequestedContent,
    pub(crate) file: Destination,
    /// None: the mode depends on who reads the file.
    pub(crate) mode: Option<Mode>,
    /// The variable that holds the file's path.
    pub(crate) env: Option<String>,
    pub(crate) when_gone: WhenGone,
}

/// What is in the file, by who reads the secrets (the field `as`).
#[derive(Debug)]
pub(crate) enum RequestedContent {
    Init(Content),
    Job(Content<PathTemplate>),
}

impl RequestedContent {
    /// Whether `init` makes the file from a template.
    pub(crate) fn is_template_of_init(&self) -> bool {
        matches!(self, Self::Init(Content::Template(_)))
    }

    pub(crate) fn read_by(&self) -> ReadBy {
        match self {
            Self::Init(_) => ReadBy::Init,
            Self::Job(_) => ReadBy::Job,
        }
    }

    /// How many secrets the template names. 0: the content is no template.
    pub(crate) fn template_requests(&self) -> usize {
        match self {
            Self::Init(content) => content.template_requests(),
            Self::Job(content) => content.template_requests(),
        }
    }
}

impl FileRequest {
    /// The file in the plan, where `init` delivers it.
    pub(crate) fn for_init(&self, default_mode: Mode) -> Option<PlannedFile> {
        match &self.content {
            RequestedContent::Init(content) => Some(self.planned(content.clone(), default_mode)),
            RequestedContent::Job(_) => None,
        }
    }

    /// The file in the plan, where the job reads the secret.
    pub(crate) fn for_job(&self, default_mode: Mode) -> Option<PlannedFile<PathTemplate>> {
        match &self.content {
            RequestedContent::Init(_) => None,
            RequestedContent::Job(content) => Some(self.planned(content.clone(), default_mode)),
        }
    }

    fn planned<P>(&self, content: Content<P>, default_mode: Mode) -> PlannedFile<P> {
        PlannedFile {
            content,
            file: self.file.clone(),
            mode: self.mode.unwrap_or(default_mode),
            when_gone: self.when_gone,
        }
    }

    /// Whether the job reads the secret, and not `init`.
    pub(crate) fn is_for_job(&self) -> bool {
        self.content.read_by() == ReadBy::Job
    }

    /// What the rules ask about the file.
    pub(crate) fn shape(&self) -> FileShape<'_> {
        FileShape {
            read_by: self.content.read_by(),
            content: match &self.content {
                RequestedContent::Init(content) => content.shape(),
                RequestedContent::Job(content) => content.shape(),
            },
            file: &self.file,
            when_gone: self.when_gone,
        }
    }

    /// What the rules ask about each request of the file.
    pub(crate) fn requests(&self) -> impl Iterator<Item = RequestShape<'_>> {
        let (init, job) = match &self.content {
            RequestedContent::Init(content) => (content.requests(), [].as_slice()),
            RequestedContent::Job(content) => ([].as_slice(), content.requests()),
        };
        let init = init.iter().map(|request| request.shape(ReadBy::Init));
        init.chain(job.iter().map(|request| request.shape(ReadBy::Job)))
    }

    /// The field of the entry that has to change: `of_secret`, or `template`, which has no other.
    pub(crate) fn field<'f>(&self, of_secret: &'f str) -> &'f str {
        match self.shape().content {
            ContentShape::Secret { .. } => of_secret,
            ContentShape::Template => TEMPLATE,
        }
    }

    /// What makes a request of the entry a write, for messages.
    pub(crate) fn how_data_is_written(&self) -> &'static str {
        match self.shape().content {
            ContentShape::Secret { .. } => "`data`",
            ContentShape::Template => "the arguments after the path",
        }
    }

    /// The name at this position of `keys`.
    pub(crate) fn key_name(&self, position: usize) -> &str {
        match self.shape().content {
            ContentShape::Secret {
                part: Part::Keys(keys), ..
            } => keys.iter().nth(position).map_or("", |named| named.name.as_str()),
            ContentShape::Secret { .. } | ContentShape::Template => "",
        }
    }

    /// `podkey.dev/files[0]`, or the file's own annotation, for messages.
    pub(crate) fn place(&self) -> String {
        self.key.clone().unwrap_or_else(|| place(self.index))
    }

    /// `podkey.dev/files[0].mode`, or the file's own annotation, which has no fields.
    pub(crate) fn place_of(&self, field: &str) -> String {
        match &self.key {
            Some(key) => key.clone(),
            None => format!("{}.{field}", place(self.index)),
        }
    }

    /// The destination for messages: as the author of `podkey.dev/files` wrote it, or where the containers see the file.
    pub(crate) fn shown(&self) -> String {
        match &self.key {
            None => self.file.to_string(),
            Some(_) => self.file.path().into_owned(),
        }
    }

    /// `files[0]`, or the name of the file, for warnings, which have to be short.
    pub(crate) fn short(&self) -> String {
        match &self.key {
            None => format!("files[{}]", self.index),
            Some(_) => {
                let path = self.file.path();
                let name = path.rsplit('/').next().unwrap_or_default().chars();
                let visible = name.map(|c| if c.is_ascii_graphic() { c } else { '?' });
                visible.take(24).collect()
            }
        }
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
