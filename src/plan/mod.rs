//! The plan: the fully resolved work for one pod. The webhook makes the plan, and the agent carries out the plan.
//!
//! Every value has a type that cannot hold an invalid value: parsing is validation, for the author's annotations and for the
//! plan that the agent reads back (a pod may carry podkey's image and a hand-made plan). Rules between values are in `rules`.
//! The plan names secrets and holds none: everybody who may read the pod can read the plan.

#![cfg_attr(
    not(all(feature = "agent", feature = "webhook")),
    allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "each program uses its own part of a plan; the build of both shows what nobody uses"
    )
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter;

use serde::{Deserialize, Deserializer, Serialize};

mod address;
mod binary;
mod connection;
mod content;
mod data;
mod destination;
mod duration;
mod endpoint;
mod env;
mod exit_code;
mod file;
mod job;
mod layout;
mod mode;
mod mount_lookup;
mod name;
mod on_change;
mod path;
mod pattern;
mod placeholder;
mod refresh;
mod request;
pub(crate) mod rules;
pub(crate) mod sidecar_log;
pub(crate) mod spelling;
mod status_file;
mod template;
mod token_file;
pub(crate) mod words;

pub use self::connection::Connection;
pub use self::content::{Content, Decode, Format, Keys, NamedField, Part, SecretContent};
pub use self::data::Data;
pub use self::destination::{Destination, FieldName, contains};
pub use self::env::{EnvName, EnvSecret, Select, ValueStep};
pub use self::exit_code::ExitCode;
pub use self::file::PlannedFile;
pub use self::job::{JobPlan, Mask};
pub use self::layout::{BUDGET_ENV, PLAN_ENV, SECRETS_DIR};
pub use self::mode::Mode;
pub use self::path::ApiPath;
pub use self::placeholder::PathTemplate;
pub use self::refresh::{Refresh, WhenGone};
pub use self::request::SecretRequest;
pub use self::template::{InvalidTemplate, TemplateContent};

pub(crate) use self::address::{Address, ServerName};
pub(crate) use self::binary::Binary;
pub(crate) use self::connection::{AuthMethod, Login};
pub(crate) use self::content::MAX_KEY_BYTES;
pub(crate) use self::data::Value;
pub(crate) use self::destination::{directory_of_place, place_of_directory, real};
pub(crate) use self::duration::{Budget, Interval};
pub(crate) use self::job::{BoundPod, Forks, GitHubId, JobLogin, JobPolicy, OnFailure};
pub(crate) use self::layout::{
    AGENT, BIN_DIR, CURRENT, DEFAULT_BUDGET, DEFAULT_HOOK_DEADLINE, ENV_DIR, EXEC, FILES_DIR, HANDOVER_DIR,
    HANDOVER_FILE, JOB_COMPLETED, JOB_STARTED, KUBELET_ENV_DIR, KUBELET_ENV_FILE, LINKED_DIR, LINKS_ROOT, MAX_BUDGET,
    MAX_ENV_SECRETS, MAX_FIELD_FILES, MAX_FILES, MAX_ON_CHANGE, MAX_PLAN_BYTES, MAX_RENDERED_BYTES,
    MAX_TEMPLATE_REQUESTS, MOUNTS_DIR, NEXT_JOB_COMPLETED_ENV, NEXT_JOB_STARTED_ENV, PLAN_FILE, PLAN_VERSION,
    PRINTED_DIR, RESTARTS_FILE, ROOT_DIR, SINGLE_DIR, STATE_DIR, STATE_PLACE, STATUS, TOKEN_DIR, TOKEN_FILE,
    VOLUME_DIR,
};
pub(crate) use self::mount_lookup::MountLookup;
pub(crate) use self::name::{NamePiece, NameTemplate, applied};
pub(crate) use self::on_change::{LoopbackUrl, OnChange, Signal};
pub(crate) use self::path::Role;
pub(crate) use self::pattern::Pattern;
pub(crate) use self::placeholder::{PathPiece, Placeholder};
#[cfg(any(feature = "agent", feature = "cli"))]
pub(crate) use self::status_file::FileState;
#[cfg(any(feature = "cli", test))]
pub(crate) use self::status_file::{STATUS_EXAMPLE, STATUS_FIELDS, STATUS_OF_FILE_FIELDS};
pub(crate) use self::token_file::TokenFile;

use self::rules::{Rule, Subject, Violation};
use crate::text::quoted;

/// What is wrong with a value: the end of a sentence that the caller begins with the value or its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(Cow<'static, str>);

fn invalid<T>(message: impl Into<Cow<'static, str>>) -> Result<T, Invalid> {
    Err(Invalid(message.into()))
}

/// Implements serde for a text type whose parser checks the text: serde reads and writes the value as text.
macro_rules! checked_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}
use checked_text;

/// The fully resolved work for one pod. (In the webhook `C` is a text, because the webhook already has each connection as JSON.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan<C = Connection> {
    /// [`PLAN_VERSION`]. The agent refuses other versions: webhook and agent come from one release.
    pub(crate) version: u32,
    /// The server that all secrets come from.
    pub(crate) connection: C,
    /// How `init` logs in. None: `init` reads nothing, because the job reads all secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<Login>,
    /// The time that all tries of one agent may take together.
    pub(crate) budget: Budget,
    /// Whether a secret path that does not exist is skipped with a warning. Otherwise the pod fails.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) ignore_not_found: bool,
    /// Whether the mounts of the paths are looked up before the paths are read. None: the paths are read as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mount_lookup: Option<MountLookup>,
    /// The files that `init` delivers, in the author's order.
    pub files: Vec<PlannedFile>,
    /// The file that holds the client token. None: no container gets the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<TokenFile>,
    /// The variables that `init` reads. Their values go into files of [`ENV_DIR`], for the hooks to export or for the
    /// containers to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<EnvSecret>,
    /// The permissions of the files in [`ENV_DIR`], also of those that the started hook adds.
    #[serde(default, skip_serializing_if = "Mode::is_default")]
    pub(crate) env_mode: Mode,
    /// Whether commands of containers begin with `EXEC` to read the variables. Then `init` leaves a list of the delivered
    /// files.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exec: bool,
    /// How the agent comes to the containers that use it.
    #[serde(default, skip_serializing_if = "Binary::is_copy")]
    pub(crate) binary: Binary,
    /// The pod has no `podkey-init`: the job hooks do all the work.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) hooks_alone: bool,
    /// Whether the kubelet sets the variables in containers. Then `init` also writes the values into `KUBELET_ENV_FILE`, and into
    /// `ENV_DIR` only where commands begin with `EXEC` too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub kubelet_env: bool,
    /// The work of the runner's job hooks, if they are on. (An agent without hooks must refuse a plan with this field, and does.
    /// Without this field the plan has the same form for both agents, so the version need not change.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobPlan>,
    /// The work of the sidecar, if the files are kept fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// The JSON text without dollar signs, so that Kubernetes expands nothing.
pub(crate) fn without_dollars(json: &str) -> String {
    json.replace('$', "\\u0024")
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Reads a list that allows what it names. An empty list is not like a missing list: it must not allow everything.
pub(crate) fn given_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

/// Why the text in [`PLAN_ENV`] is not a valid plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The text is not JSON, or a value in the text is not valid.
    #[error("the plan does not parse: {0}")]
    Json(#[from] serde_json::Error),
    /// Another release of podkey wrote the plan.
    #[error(
        "the plan has version {0}, and this agent reads version {PLAN_VERSION}: use the image of the webhook's release"
    )]
    Version(u32),
    /// The plan breaks a rule: the part of the plan, and what is wrong.
    #[error("the plan is not valid: {0}: {1}")]
    Rule(String, String),
}

impl Plan {
    /// Parses and checks the text of [`PLAN_ENV`].
    pub fn parse(json: &str) -> Result<Self, PlanError> {
        // The version first, because a plan of another version has other fields.
        #[derive(Deserialize)]
        struct VersionOnly {
            version: u32,
        }
        let VersionOnly { version } = serde_json::from_str(json)?;
        if version != PLAN_VERSION {
            return Err(PlanError::Version(version));
        }
        let plan: Self = serde_json::from_str(json)?;
        let violation = rules::plan(&plan).next();
        match violation {
            Some(violation) => Err(plan.refusal(violation)),
            None => Ok(plan),
        }
    }

    fn refusal(&self, Violation { subject, rule }: Violation) -> PlanError {
        let why = match rule {
            Rule::SameDestination { other } | Rule::OverlappingDestination { other } => {
                format!("{rule}: {}", self.quoted_file(other))
            }
            rule => rule.to_string(),
        };
        PlanError::Rule(self.part(subject), why)
    }

    /// The destination of the `index`-th file, in quotes.
    fn quoted_file(&self, index: usize) -> String {
        let file = self.destinations().nth(index);
        file.map_or_else(String::new, |file| quoted(&file.to_string()))
    }

    /// The part of the plan that a rule is about, as an error names it.
    fn part(&self, subject: Subject) -> String {
        let path = |path: Option<&ApiPath>| path.map_or_else(String::new, |path| quoted(path.as_str()));
        let job = self.job.iter();
        match subject {
            Subject::Plan => "files and variables".to_owned(),
            Subject::Connection => "connection".to_owned(),
            Subject::Login => "login".to_owned(),
            Subject::JobLogin => "job.login".to_owned(),
            Subject::File(index) => format!("file {}", self.quoted_file(index)),
            Subject::Request { file: index, number } => {
                let requests = self.files.get(index).map(PlannedFile::requests);
                let secret = requests.and_then(|requests| requests.get(number));
                let of_job = job.clone().flat_map(|job| &job.files);
                let of_job = of_job
                    .map(PlannedFile::requests)
                    .nth(index.saturating_sub(self.files.len()));
                let secret = secret.map(|request| &request.secret).or_else(|| {
                    let request = of_job.and_then(|requests| requests.get(number))?;
                    Some(request.secret.as_path())
                });
                format!("file {}, secret {}", self.quoted_file(index), path(secret))
            }
            Subject::Templates => "templates".to_owned(),
            Subject::Env => "env".to_owned(),
            Subject::EnvEntry(index) => format!("env {}", path(self.env.get(index).map(|env| &env.secret))),
            Subject::JobEnv => "job.env".to_owned(),
            Subject::JobEnvEntry(index) => {
                let env = job.flat_map(|job| &job.env).nth(index);
                format!("job.env {}", path(env.map(|env| env.secret.as_path())))
            }
            Subject::Exec => "exec".to_owned(),
            Subject::KubeletEnv => "kubeletEnv".to_owned(),
            Subject::Export => "job.export".to_owned(),
            Subject::Copy(index) => {
                let copy = job.flat_map(|job| &job.temp).flatten().nth(index);
                format!(
                    "job.temp {}",
                    copy.map_or_else(String::new, |(name, _)| name.to_string())
                )
            }
            Subject::Refresh => "refresh".to_owned(),
            Subject::OnChange => "refresh.onChange".to_owned(),
            Subject::Action(index) => {
                let action = self.refresh.iter().flat_map(|refresh| &refresh.on_change).nth(index);
                let action = action.map_or_else(String::new, |action| quoted(&action.to_string()));
                format!("refresh.onChange {action}")
            }
        }
    }

    /// Each file of `init` with its path below the root of the volume `podkey-secrets`, in the plan's order.
    pub fn placed_files(&self) -> impl Iterator<Item = (&PlannedFile, String)> {
        self.files
            .iter()
            .enumerate()
            .map(|(index, file)| (file, file.file.place(index)))
    }

    /// Each file of the started hook with its path below the root of the volume. They are numbered after all files of `init`.
    pub fn placed_job_files(&self) -> impl Iterator<Item = (&PlannedFile<PathTemplate>, String)> {
        let files = self.job.iter().flat_map(|job| &job.files);
        (self.files.len()..)
            .zip(files)
            .map(|(index, file)| (file, file.file.place(index)))
    }
}

impl<C> Plan<C> {
    /// Whether `init` logs in: to read secrets, or to deliver the client token.
    pub(crate) fn init_logs_in(&self) -> bool {
        !self.files.is_empty() || !self.env.is_empty() || self.token_file.is_some()
    }

    /// Whether containers, or the job hooks, read the values of variables as files of [`ENV_DIR`].
    pub(crate) fn has_variable_files(&self) -> bool {
        let has_variables = !self.env.is_empty() || self.job.iter().any(|job| !job.env.is_empty());
        has_variables && (self.exec || !self.kubelet_env)
    }

    /// Whether there is anything in the volume `podkey-secrets`.
    pub(crate) fn has_files(&self) -> bool {
        self.has_variable_files() || self.destinations().next().is_some()
    }

    /// The paths that `init` reads, and does not write. A path may come several times.
    pub(crate) fn read_paths(&self) -> impl Iterator<Item = &ApiPath> {
        let requests = self.files.iter().flat_map(PlannedFile::requests);
        let read = requests.filter(|request| request.data.is_none());
        read.map(|request| &request.secret)
            .chain(self.env.iter().map(|env| &env.secret))
    }

    /// The paths that `init` writes.
    pub(crate) fn written_paths(&self) -> impl Iterator<Item = &ApiPath> {
        let requests = self.files.iter().flat_map(PlannedFile::requests);
        let written = requests.filter(|request| request.data.is_some());
        written.map(|request| &request.secret)
    }

    /// Where the containers see the files: the files of `init` first, then the files of the job, then the file of the client token.
    /// The position of a file here is its number in `SINGLE_DIR`.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> + Clone {
        let job = self.job.iter().flat_map(|job| &job.files);
        self.files
            .iter()
            .map(|file| &file.file)
            .chain(job.map(|file| &file.file))
            .chain(self.token_file.iter().map(|token| &token.file))
    }

    /// The format of each file: by the path at which the containers see the file, and by the name below [`SECRETS_DIR`]. A
    /// file for each field is raw.
    pub(crate) fn formats(&self) -> BTreeMap<Cow<'_, str>, Format> {
        let own = self.files.iter().map(|file| (&file.file, file.content.format()));
        let job = self.job.iter().flat_map(|job| &job.files);
        let all = own.chain(job.map(|file| (&file.file, file.content.format())));
        all.flat_map(|(file, format)| {
            let name = match file {
                Destination::Relative(name) => Some(Cow::Borrowed(name.as_str())),
                _ => None,
            };
            iter::once(file.path()).chain(name).map(move |name| (name, format))
        })
        .collect()
    }
}

impl<C: Serialize> Plan<C> {
    /// The plan as the value of [`PLAN_ENV`]: JSON with each `$` written as `\u0024`, because Kubernetes expands `$(NAME)` and
    /// `$$` in the values of environment variables. (In JSON a `$` can only stand inside a string.)
    pub(crate) fn to_env_value(&self) -> Result<String, serde_json::Error> {
        Ok(without_dollars(&serde_json::to_string(self)?))
    }
}

#[cfg(test)]
mod tests;
