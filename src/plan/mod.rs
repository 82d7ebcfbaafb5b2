//! The plan: the fully resolved work of one pod, made by the webhook and carried out by the agent.
//!
//! Every value in it is of a type that cannot hold nonsense: parsing is validation, for the author's annotations as for
//! the plan that the agent reads back (a pod may carry our image and a hand-made plan). It names secrets and holds none:
//! whoever may read the pod can read the plan.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::iter;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod address;
mod data;
mod destination;
mod endpoint;
mod exit_code;
mod job;
mod name;
mod path;
pub(crate) mod pattern;
mod refresh;
pub mod spelling;

pub use self::address::{Address, ServerName};
pub use self::data::{Data, Value};
pub use self::destination::{Destination, Mode, contains, real};
pub use self::exit_code::ExitCode;
pub use self::job::{
    AGENT, Audience, BIN_DIR, DEFAULT_HOOK_DEADLINE, ENV_DIR, EXEC, EnvName, EnvSecret, Forks, JOB_COMPLETED,
    JOB_STARTED, JobLogin, JobPlan, JobPolicy, MAX_ENV_SECRETS, Mask, NEXT_JOB_COMPLETED_ENV, NEXT_JOB_STARTED_ENV,
    OnFailure, PathTemplate, Piece, Placeholder, Select, Step,
};
pub use self::name::{FieldName, Function, NamePiece, NameTemplate, applied};
pub use self::path::{ApiPath, Role};
pub use self::pattern::Pattern;
pub use self::refresh::{
    CURRENT, HANDOVER_DIR, HANDOVER_FILE, Interval, LoopbackUrl, MAX_ON_CHANGE, OnChange, Refresh, STATUS, Signal,
    WhenGone,
};

/// Where podkey's own containers mount the root of the volume `podkey-secrets`.
pub const VOLUME_DIR: &str = "/podkey/volume";
/// Where the other containers mount the volume's directory [`FILES_DIR`].
pub const SECRETS_DIR: &str = "/podkey/secrets";
/// Where podkey's own containers mount the volume `podkey-token`.
pub const TOKEN_DIR: &str = "/podkey/token";
/// The projected service-account token, as podkey's own containers see it.
pub const TOKEN_FILE: &str = "/podkey/token/token";
/// The volume's directory of files with a relative destination.
pub const FILES_DIR: &str = "files";
/// The volume's directory of files with an absolute destination, each mounted on its own.
pub const SINGLE_DIR: &str = "single";
/// The environment variable that carries the plan as JSON.
pub const PLAN_ENV: &str = "PODKEY_PLAN";

/// The plan format this program writes and reads.
pub const PLAN_VERSION: u32 = 1;
/// The longest plan in bytes. The kernel refuses one environment string of 128 KiB (`MAX_ARG_STRLEN`, execve(2)).
pub const MAX_PLAN_BYTES: usize = 96 * 1024;
/// The most files in one pod.
pub const MAX_FILES: usize = 64;
/// The most files that are made of one secret's fields, one of each.
pub const MAX_FIELD_FILES: usize = 256;
/// All rendered files together, in bytes.
pub const MAX_RENDERED_BYTES: usize = 4 * 1024 * 1024;
/// The longest budget that an operator or `PODKEY_BUDGET` may set. ARC gives up on a runner that takes longer.
pub const MAX_BUDGET: Duration = Duration::from_secs(15 * 60);
/// The budget where nobody set one.
pub const DEFAULT_BUDGET: Duration = Duration::from_secs(5 * 60);

/// What was wrong with a value, as the end of a sentence that the caller begins with the value's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(Cow<'static, str>);

fn invalid<T>(message: impl Into<Cow<'static, str>>) -> Result<T, Invalid> {
    Err(Invalid(message.into()))
}

/// The fully resolved work of one pod. (The webhook, which has each connection as text already, writes a `Plan` with that in
/// it; all others have a [`Connection`].)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan<C = Connection> {
    /// [`PLAN_VERSION`]. The agent refuses another one: webhook and agent come from one release.
    pub version: u32,
    /// The server to speak to.
    pub connection: C,
    /// How `init` logs in to it. There is none where it has nothing to read: all is the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// How long all tries of one agent may take together.
    pub budget: Budget,
    /// A secret path that does not exist is skipped with a warning rather than failing the pod.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_not_found: bool,
    /// What to deliver, in the author's order.
    pub files: Vec<PlannedFile>,
    /// Variables whose values go into files of [`ENV_DIR`], for the hooks to export or for the containers to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvSecret>,
    /// The permissions of those files, and of those that the started hook adds to them.
    #[serde(default, skip_serializing_if = "Mode::is_default")]
    pub env_mode: Mode,
    /// The commands of the containers that read the variables begin with [`EXEC`]: `init` leaves the agent in [`BIN_DIR`],
    /// and what it delivered.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exec: bool,
    /// What the runner's job hooks do, where they are on. (An agent without hooks refuses a plan with this in it, as it must;
    /// plans without it are the same for both, so the version need not move.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobPlan>,
    /// What the sidecar does, where the files are kept fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// JSON text that Kubernetes expands nothing in.
pub(crate) fn without_dollars(json: &str) -> String {
    json.replace('$', "\\u0024")
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Why the text in `PODKEY_PLAN` is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not JSON, or a value in it is not valid.
    #[error("the plan does not parse: {0}")]
    Json(#[from] serde_json::Error),
    /// Another podkey wrote it.
    #[error(
        "the plan has version {0}, this agent reads version {PLAN_VERSION}: use the image of the webhook's release"
    )]
    Version(u32),
    /// Nothing to do, or more than an agent takes.
    #[error("the plan has {0} files, allowed are 1 to {MAX_FILES}")]
    Files(usize),
    /// More variables than an agent takes.
    #[error("the plan has {0} variables of one kind, allowed are {MAX_ENV_SECRETS}")]
    Env(usize),
    /// Commands are to be started with variables, and there are none, or the job hooks export them.
    #[error("the plan has commands to start, but no variables for them alone")]
    Exec,
    /// A copy that is to be named by a variable is one of no file.
    #[error("the plan has the variable {0} for a copy of a file that it does not deliver")]
    NoFile(EnvName),
    /// A file that cannot be delivered as it is asked for.
    #[error("the plan has the file {0}, {1}")]
    File(Destination, &'static str),
    /// The files cannot be kept fresh.
    #[error("the plan asks for refresh, {0}")]
    Refresh(&'static str),
    /// More actions than one change starts.
    #[error("the plan has {0} actions on a change, allowed are {MAX_ON_CHANGE}")]
    OnChange(usize),
    /// Something is to be read, and there is no login for it.
    #[error("the plan has secrets that {0} reads, and no login for it")]
    NoLogin(&'static str),
    /// Two files with one destination, or one inside the other.
    #[error("the files {0} and {1} cannot both be delivered")]
    Conflict(Destination, Destination),
    /// A path that is no secret's.
    #[error("the path {0} is about tokens, not a secret")]
    Tokens(ApiPath),
    /// A path that is no secrets engine's, and is to be written.
    #[error("the path {0} is the server's own, which no data is written to")]
    Written(ApiPath),
    /// A path that is written changes its engine.
    #[error("the path {0} is written with data, which changes its engine: it answers with no secret")]
    ChangesEngine(ApiPath),
    /// The connection is plain http, and its operator did not allow that.
    #[error("the connection's address is http:// without allowInsecureHttp")]
    InsecureHttp,
}

impl Plan {
    /// Parses and checks the text of [`PLAN_ENV`].
    pub fn parse(json: &str) -> Result<Self, PlanError> {
        // The version first: a plan of another version has other fields.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(json)?;
        if version != PLAN_VERSION {
            return Err(PlanError::Version(version));
        }
        let plan: Self = serde_json::from_str(json)?;
        let (job_files, job_env) = match &plan.job {
            Some(job) => (job.files.as_slice(), job.env.as_slice()),
            None => (&[][..], &[][..]),
        };
        let files = plan.files.len() + job_files.len();
        if files > MAX_FILES || (files == 0 && plan.env.is_empty() && job_env.is_empty()) {
            return Err(PlanError::Files(files));
        }
        if let Some(many) = [plan.env.len(), job_env.len()]
            .into_iter()
            .find(|n| *n > MAX_ENV_SECRETS)
        {
            return Err(PlanError::Env(many));
        }
        if plan.exec && (plan.env.is_empty() || plan.job.is_some()) {
            return Err(PlanError::Exec);
        }
        if plan.init_reads() && plan.login.is_none() {
            return Err(PlanError::NoLogin("init"));
        }
        if plan.job.as_ref().is_some_and(|job| job.reads() && job.login.is_none()) {
            return Err(PlanError::NoLogin("the job"));
        }
        if !plan.connection.address.is_tls() && !plan.connection.allow_insecure_http {
            return Err(PlanError::InsecureHttp);
        }
        let paths = plan.files.iter().map(|file| &file.secret);
        let paths = paths.chain(plan.env.iter().map(|env| &env.secret));
        let paths = paths.chain(job_files.iter().map(|file| file.secret.as_path()));
        let mut paths = paths.chain(job_env.iter().map(|env| env.secret.as_path()));
        if let Some(path) = paths.find(|path| path.holds_tokens()) {
            return Err(PlanError::Tokens(path.clone()));
        }
        plan.files.iter().try_for_each(PlannedFile::check)?;
        job_files.iter().try_for_each(PlannedFile::check_for_job)?;
        plan.check_refresh()?;
        let destinations: Vec<_> = plan.destinations().collect();
        for (index, file) in destinations.iter().enumerate() {
            if let Some(other) = destinations[..index].iter().find(|other| file.conflicts_with(other)) {
                return Err(PlanError::Conflict((*other).clone(), (*file).clone()));
            }
        }
        let env = Destination::Relative(ENV_DIR.to_owned());
        let has_env = !plan.env.is_empty() || !job_env.is_empty();
        if let Some(file) = destinations
            .into_iter()
            .find(|file| has_env && file.conflicts_with(&env))
        {
            return Err(PlanError::Conflict(env, file.clone()));
        }
        let copies = plan.job.iter().flat_map(|job| &job.temp).flatten();
        if let Some((name, _)) = copies
            .into_iter()
            .find(|(_, file)| !plan.destinations().any(|known| known == *file))
        {
            return Err(PlanError::NoFile(name.clone()));
        }
        Ok(plan)
    }

    fn check_refresh(&self) -> Result<(), PlanError> {
        let Some(refresh) = &self.refresh else {
            return match self.files.iter().find(|file| !file.when_gone.is_keep()) {
                Some(file) => Err(PlanError::File(
                    file.file.clone(),
                    "whose secret is never looked for again",
                )),
                None => Ok(()),
            };
        };
        if !self.init_reads() {
            return Err(PlanError::Refresh("and has nothing that init reads"));
        }
        if self.job.iter().any(|job| !job.policies.is_empty()) {
            return Err(PlanError::Refresh(
                "which would write again what its job policy refuses",
            ));
        }
        if self.job.iter().any(|job| !job.export && !job.env.is_empty()) {
            return Err(PlanError::Refresh("and only the sidecar may write files of variables"));
        }
        if let Some(file) = self.job.iter().flat_map(|job| &job.files).next() {
            return Err(PlanError::File(
                file.file.clone(),
                "which the job reads, and only the sidecar may write",
            ));
        }
        for PlannedFile { file, .. } in &self.files {
            if matches!(file, Destination::Absolute(_)) {
                return Err(PlanError::File(
                    file.clone(),
                    "which is mounted on its own and cannot be kept fresh",
                ));
            }
            if file.is_reserved() {
                return Err(PlanError::File(file.clone(), "where podkey keeps what is its own"));
            }
        }
        if refresh.on_change.len() > MAX_ON_CHANGE {
            return Err(PlanError::OnChange(refresh.on_change.len()));
        }
        match refresh
            .on_change
            .iter()
            .find_map(|action| action.replaced(self.destinations()))
        {
            Some(touched) => Err(PlanError::File(
                touched,
                "which is to be touched where podkey replaces files",
            )),
            None => Ok(()),
        }
    }

    /// Each file of `init`'s with its place below the root of the volume `podkey-secrets`, in the plan's order.
    pub fn placed_files(&self) -> impl Iterator<Item = (&PlannedFile, String)> {
        self.files
            .iter()
            .enumerate()
            .map(|(index, file)| (file, file.file.place(index)))
    }

    /// Each file of the started hook's likewise; they come after all of `init`'s.
    pub fn placed_job_files(&self) -> impl Iterator<Item = (&PlannedFile<PathTemplate>, String)> {
        let files = self.job.iter().flat_map(|job| &job.files);
        (self.files.len()..)
            .zip(files)
            .map(|(index, file)| (file, file.file.place(index)))
    }
}

impl<C> Plan<C> {
    /// Whether `init` has anything to read.
    pub fn init_reads(&self) -> bool {
        !self.files.is_empty() || !self.env.is_empty()
    }

    /// Where the containers see the files, `init`'s before the job's: the number of each is its place's.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let job = self.job.iter().flat_map(|job| &job.files);
        self.files
            .iter()
            .map(|file| &file.file)
            .chain(job.map(|file| &file.file))
    }

    /// How each file is written: by the path at which the containers see the file, and by its name below
    /// [`SECRETS_DIR`]. A file for each field is raw.
    pub fn formats(&self) -> BTreeMap<Cow<'_, str>, Format> {
        let own = self.files.iter().map(|file| (&file.file, file.format));
        let job = self.job.iter().flat_map(|job| &job.files);
        let all = own.chain(job.map(|file| (&file.file, file.format)));
        all.flat_map(|(file, format)| {
            let name = match file {
                Destination::Relative(name) => Some(Cow::Borrowed(name.as_str())),
                Destination::Absolute(_) | Destination::EachField(_) => None,
            };
            iter::once(file.path()).chain(name).map(move |name| (name, format))
        })
        .collect()
    }
}

impl<C: Serialize> Plan<C> {
    /// The plan as it goes into [`PLAN_ENV`]: JSON with each `$` written as `\u0024`, because Kubernetes expands
    /// `$(NAME)` and `$$` in the values of environment variables. (A `$` can only stand inside a JSON string.)
    pub fn to_env_value(&self) -> Result<String, serde_json::Error> {
        Ok(without_dollars(&serde_json::to_string(self)?))
    }
}

/// A Vault or OpenBao server, as the operator defined it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// The name that the pod's author chose it by.
    pub name: String,
    /// Scheme, host and port.
    pub address: Address,
    /// PEM certificates of the only authorities to trust. Without them: the image's bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name to expect in the server's certificate, where it is not the address's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<ServerName>,
    /// Vault Enterprise or OpenBao namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<ApiPath>,
    /// The operator accepts that tokens and secrets cross the network in clear text.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_insecure_http: bool,
}

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// Which auth method is mounted there.
    pub method: AuthMethod,
    /// The mount path of the auth method, without `auth/`.
    pub mount: ApiPath,
    /// The Vault role.
    pub role: Role,
}

/// An auth method that takes a service-account token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMethod {
    /// <https://developer.hashicorp.com/vault/docs/auth/kubernetes>: the server asks the API server (TokenReview).
    Kubernetes,
    /// <https://developer.hashicorp.com/vault/docs/auth/jwt>: the server checks the signature itself.
    Jwt,
}

/// One file to deliver. What the job reads has a [`PathTemplate`] for its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedFile<P = ApiPath> {
    /// The API path to read.
    pub secret: P,
    /// The version to read (KV v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<std::num::NonZeroU64>,
    /// The path is written with this, once per read, instead of read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// The field; none means the whole secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What the field's text is decoded from.
    #[serde(default, skip_serializing_if = "Decode::is_none")]
    pub decode: Decode,
    /// How it is written.
    pub format: Format,
    /// Where the containers see it.
    pub file: Destination,
    /// Its permissions.
    pub mode: Mode,
    /// What becomes of it when its secret is gone.
    #[serde(default, skip_serializing_if = "WhenGone::is_keep")]
    pub when_gone: WhenGone,
}

impl<P> PlannedFile<P> {
    /// What it is made of, and how it is written.
    fn check_content(&self) -> Result<(), PlanError> {
        let wrong = |why| Err(PlanError::File(self.file.clone(), why));
        match (&self.file, &self.key, self.format, self.decode) {
            (Destination::EachField(_), None, Format::Raw, _) => Ok(()),
            (Destination::EachField(_), ..) => wrong("one for each field, which has neither a key nor a format"),
            (_, None, Format::Raw, _) => wrong("in the format raw, which needs a key"),
            (_, None, _, decode) if !decode.is_none() => wrong("which is decoded, and that needs a key"),
            _ => Ok(()),
        }
    }
}

impl PlannedFile {
    fn check(&self) -> Result<(), PlanError> {
        self.check_content()?;
        let wrong = |why| Err(PlanError::File(self.file.clone(), why));
        match &self.data {
            Some(_) if self.version.is_some() => wrong("with a version of what is written rather than read"),
            Some(_) if self.secret.is_the_servers_own() => Err(PlanError::Written(self.secret.clone())),
            Some(_) if self.secret.changes_its_engine().is_some() => Err(PlanError::ChangesEngine(self.secret.clone())),
            _ => Ok(()),
        }
    }
}

impl PlannedFile<PathTemplate> {
    /// The started hook writes only files whose names are known when the pod is made, and reads only.
    fn check_for_job(&self) -> Result<(), PlanError> {
        let wrong = |why| Err(PlanError::File(self.file.clone(), why));
        if matches!(self.file, Destination::EachField(_)) {
            return wrong("one for each field, for the job, which only init makes");
        }
        if self.data.is_some() || !self.when_gone.is_keep() {
            return wrong("for the job, with what only init and the sidecar do");
        }
        self.check_content()
    }
}

/// What a field's text is decoded from before it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decode {
    /// Written as it is.
    #[default]
    None,
    /// RFC 4648 section 4; line breaks and missing padding are accepted, as `base64` writes them.
    Base64,
    /// RFC 4648 section 5, likewise.
    Base64url,
    /// RFC 4648 section 8, either case; line breaks are accepted.
    Hex,
}

impl Decode {
    /// Every value as the author writes it.
    pub const NAMES: [&str; 4] = ["none", "base64", "base64url", "hex"];

    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl FromStr for Decode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "none" => Ok(Self::None),
            "base64" => Ok(Self::Base64),
            "base64url" => Ok(Self::Base64url),
            "hex" => Ok(Self::Hex),
            _ => invalid("is none of none, base64, base64url, hex"),
        }
    }
}

/// How a field or a whole secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The field's bytes and nothing else.
    Raw,
    /// JSON, numbers as the server wrote them.
    Json,
    /// YAML 1.2, one line a field.
    Yaml,
    /// `NAME='value'` lines that `sh` reads.
    Dotenv,
    /// Java properties.
    Properties,
}

impl Format {
    /// Every value as the author writes it.
    pub const NAMES: [&str; 5] = ["raw", "json", "yaml", "dotenv", "properties"];
}

impl FromStr for Format {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "raw" => Ok(Self::Raw),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "dotenv" => Ok(Self::Dotenv),
            "properties" => Ok(Self::Properties),
            _ => invalid("is none of raw, json, yaml, dotenv, properties"),
        }
    }
}

/// Text types that are checked where they are made, and written as the text they came from.
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

/// How long all tries of one agent may take together: more than nothing, at most [`MAX_BUDGET`]. Written as `5m`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Budget(Duration);

checked_text!(Budget);

impl Budget {
    /// As a duration.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self(DEFAULT_BUDGET)
    }
}

impl FromStr for Budget {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match humantime::parse_duration(text) {
            Err(_) => invalid("is no duration such as 30s or 5m"),
            Ok(Duration::ZERO) => invalid("is no time at all"),
            Ok(duration) if duration > MAX_BUDGET => invalid("is longer than 15m"),
            Ok(duration) => Ok(Self(duration)),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn budgets_end() {
        assert_eq!("5m".parse::<Budget>().unwrap(), Budget::default());
        assert_eq!(Budget::default().to_string(), "5m");
        for bad in ["", "5", "0s", "16m", "-1s", "never"] {
            assert!(bad.parse::<Budget>().is_err(), "{bad:?}");
        }
    }

    fn plan() -> Plan {
        Plan {
            version: PLAN_VERSION,
            connection: Connection {
                name: "default".into(),
                address: "https://vault:8200".parse().unwrap(),
                ca: None,
                tls_server_name: None,
                namespace: None,
                allow_insecure_http: false,
            },
            login: Some(Login {
                method: AuthMethod::Kubernetes,
                mount: "kubernetes".parse().unwrap(),
                role: "$$(HOME)$".parse().unwrap(),
            }),
            budget: Budget::default(),
            ignore_not_found: false,
            files: vec![PlannedFile {
                secret: "kv/data/$(HOME)".parse().unwrap(),
                version: None,
                data: None,
                key: Some("config".into()),
                decode: Decode::Base64,
                format: Format::Raw,
                file: "/tmp/kubeconfig".parse().unwrap(),
                mode: Mode::OWNER,
                when_gone: WhenGone::Keep,
            }],
            env: vec![variable()],
            env_mode: Mode::GROUP,
            exec: false,
            job: Some(JobPlan {
                user: 1001,
                on_failure: OnFailure::FailJob,
                mask: Mask::Smart,
                export: true,
                deadline: "30s".parse().unwrap(),
                login: Some(JobLogin {
                    mount: "github".parse().unwrap(),
                    role: "ci".parse().unwrap(),
                    audience: Some("https://vault.example.com".parse().unwrap()),
                }),
                files: vec![PlannedFile {
                    secret: "ci/data/{repository}/deploy".parse().unwrap(),
                    version: None,
                    data: None,
                    key: None,
                    decode: Decode::None,
                    format: Format::Json,
                    file: "deploy.json".parse().unwrap(),
                    mode: Mode::OWNER,
                    when_gone: WhenGone::Keep,
                }],
                env: vec![EnvSecret {
                    secret: "ci/data/{repository}/env".parse().unwrap(),
                    version: None,
                    select: Select::KeepCase {
                        prefix: "$CI_".to_owned(),
                    },
                }],
                policies: vec![JobPolicy {
                    repositories: Some(vec!["octo-org/*".parse().unwrap()]),
                    forks: Forks::Allow,
                    ..JobPolicy::default()
                }],
                temp: Some([("KUBECONFIG".parse().unwrap(), "/tmp/kubeconfig".parse().unwrap())].into()),
            }),
            refresh: None,
        }
    }

    fn variable() -> EnvSecret {
        EnvSecret {
            secret: "kv/data/app".parse().unwrap(),
            version: std::num::NonZeroU64::new(2),
            select: Select::Value {
                at: vec![Step::Key("a$b".to_owned()), Step::Index(-1)],
                name: "TOKEN".parse().unwrap(),
            },
        }
    }

    #[test]
    fn a_plan_without_job_and_variables_is_as_it_always_was() {
        let mut plan = plan();
        (plan.env, plan.env_mode, plan.job) = (Vec::new(), Mode::OWNER, None);
        let text = plan.to_env_value().unwrap();
        assert!(text.ends_with(r#""mode":"0400"}]}"#), "{text}");
        assert_eq!(Plan::parse(&text).unwrap(), plan);
    }

    #[test]
    fn the_job_s_files_have_the_places_after_those_of_init() {
        let mut plan = plan();
        plan.job.as_mut().unwrap().files[0].file = "/srv/deploy".parse().unwrap();
        assert_eq!(plan.placed_job_files().next().unwrap().1, "single/1");
        let seen: Vec<_> = plan.destinations().map(Destination::path).collect();
        assert_eq!(seen, ["/tmp/kubeconfig", "/srv/deploy"]);
    }

    #[test]
    fn the_format_of_a_file_is_known_by_its_path_and_by_its_name() {
        let plan = plan();
        let formats: Vec<_> = plan.formats().into_iter().collect();
        assert_eq!(
            formats,
            [
                ("/podkey/secrets/deploy.json".into(), Format::Json),
                ("/tmp/kubeconfig".into(), Format::Raw),
                ("deploy.json".into(), Format::Json),
            ]
        );
    }

    #[test]
    fn a_plan_survives_the_environment_and_has_no_dollar_for_kubernetes_to_expand() {
        let text = plan().to_env_value().unwrap();
        assert!(!text.contains('$'), "{text}");
        assert_eq!(Plan::parse(&text).unwrap(), plan());
    }

    fn data() -> Data {
        Data::try_from(BTreeMap::from([(
            "common_name".to_owned(),
            Value::Text("web".to_owned()),
        )]))
        .unwrap()
    }

    fn fresh_plan() -> Plan {
        let mut plan = plan();
        plan.job = None;
        plan.files[0].file = "web/kubeconfig".parse().unwrap();
        plan.files[0].when_gone = WhenGone::Fail;
        plan.files.push(PlannedFile {
            secret: "pki/issue/web".parse().unwrap(),
            version: None,
            data: Some(data()),
            key: None,
            format: Format::Raw,
            decode: Decode::None,
            file: "tls/{{ .SecretKey | replace \"_\" \"-\" }}.pem".parse().unwrap(),
            mode: Mode::OWNER,
            when_gone: WhenGone::Keep,
        });
        plan.refresh = Some(Refresh {
            interval: "15s".parse().unwrap(),
            on_change: vec!["touch:reload".parse().unwrap(), "signal:SIGHUP:nginx".parse().unwrap()],
        });
        plan
    }

    #[test]
    fn a_plan_that_is_kept_fresh_survives_the_environment() {
        let text = fresh_plan().to_env_value().unwrap();
        assert_eq!(Plan::parse(&text).unwrap(), fresh_plan());
    }

    #[test]
    fn what_cannot_be_kept_fresh_is_refused() {
        let text = |change: fn(&mut Plan)| {
            let mut plan = fresh_plan();
            change(&mut plan);
            Plan::parse(&plan.to_env_value().unwrap())
                .expect_err("refused")
                .to_string()
        };
        fn on_change(plan: &mut Plan, text: &str) {
            plan.refresh.as_mut().unwrap().on_change = vec![text.parse().unwrap()];
        }
        assert!(text(|p| p.files[0].file = "/tmp/kubeconfig".parse().unwrap()).contains("mounted on its own"));
        assert!(text(|p| p.files[0].file = "..data/x".parse().unwrap()).contains("what is its own"));
        assert!(text(|p| p.files[0].file = ".status.json".parse().unwrap()).contains("what is its own"));
        assert!(text(|p| p.files[1].file = "..{{ .SecretKey }}".parse().unwrap()).contains("what is its own"));
        let job = |change: fn(&mut JobPlan)| {
            let mut with_job = fresh_plan();
            with_job.job = plan().job.map(|mut job| {
                (job.files, job.policies, job.temp) = (Vec::new(), Vec::new(), None);
                change(&mut job);
                job
            });
            Plan::parse(&with_job.to_env_value().unwrap()).map_err(|error| error.to_string())
        };
        assert!(job(|_| {}).is_ok());
        assert!(job(|j| j.export = false).is_err_and(|why| why.contains("only the sidecar may write")));
        assert!(job(|j| j.files = plan().job.unwrap().files).is_err_and(|why| why.contains("which the job reads")));
        assert!(job(|j| j.policies = plan().job.unwrap().policies).is_err_and(|why| why.contains("job policy")));
        assert!(text(|p| (p.files, p.env) = (Vec::new(), Vec::new())).contains("0 files"));
        let mut nothing = fresh_plan();
        nothing.job = plan().job;
        (nothing.files, nothing.env) = (Vec::new(), Vec::new());
        nothing.job.iter_mut().for_each(|job| job.temp = None);
        let error = Plan::parse(&nothing.to_env_value().unwrap()).unwrap_err().to_string();
        assert!(error.contains("nothing that init reads"), "{error}");
        assert!(
            text(|p| p.refresh.as_mut().unwrap().on_change = vec!["touch:a".parse().unwrap(); 9]).contains("9 actions")
        );
        assert!(text(|p| on_change(p, "touch:web/reload")).contains("where podkey replaces files"));
        assert!(text(|p| on_change(p, "touch:tls")).contains("where podkey replaces files"));
        assert!(text(|p| on_change(p, "touch:..data/x")).contains("where podkey replaces files"));
        assert!(text(|p| on_change(p, "touch:env/x")).contains("where podkey replaces files"));
    }

    #[test]
    fn the_agent_refuses_plans_it_cannot_carry_out_whole() {
        let text = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            Plan::parse(&plan.to_env_value().unwrap())
                .expect_err("refused")
                .to_string()
        };
        assert!(text(|p| p.version = 2).contains("version 2"));
        assert!(text(|p| (p.files, p.env, p.job) = (Vec::new(), Vec::new(), None)).contains("0 files"));
        assert!(text(|p| p.files = vec![p.files[0].clone(); 65]).contains("66 files"));
        assert!(text(|p| p.files.push(p.files[0].clone())).contains("/tmp/kubeconfig and /tmp/kubeconfig"));
        assert!(text(|p| p.files[0].secret = "auth/token/lookup-self".parse().unwrap()).contains("about tokens"));
        fn written(p: &mut Plan, path: &str) {
            let data = [("a".to_owned(), Value::Text("b".to_owned()))];
            (p.files[0].secret, p.files[0].data) = (
                path.parse().unwrap(),
                Some(std::collections::BTreeMap::from(data).try_into().unwrap()),
            );
        }
        assert!(text(|p| written(p, "kv/data/web")).contains("changes its engine"));
        assert!(text(|p| written(p, "ns1/sys/mounts/x")).contains("the server's own"));
        assert!(text(|p| p.connection.address = "http://vault".parse().unwrap()).contains("allowInsecureHttp"));
        assert!(text(|p| p.env = vec![variable(); 257]).contains("257 variables"));
        assert!(text(|p| p.env[0].secret = "cubbyhole/x".parse().unwrap()).contains("about tokens"));
        assert!(text(|p| p.files[0].file = "env/TOKEN".parse().unwrap()).contains("env and env/TOKEN"));
        let job = |change: fn(&mut JobPlan)| {
            let mut plan = plan();
            plan.job.iter_mut().for_each(change);
            Plan::parse(&plan.to_env_value().unwrap())
                .expect_err("refused")
                .to_string()
        };
        assert!(job(|j| j.login = None).contains("the job reads"));
        assert!(text(|p| p.login = None).contains("init reads"));
        assert!(job(|j| j.env = vec![j.env[0].clone(); 257]).contains("257 variables"));
        assert!(job(|j| j.files = vec![j.files[0].clone(); 64]).contains("65 files"));
        assert!(job(|j| j.files[0].file = "/tmp/kubeconfig".parse().unwrap()).contains("/tmp/kubeconfig and /tmp"));
        assert!(job(|j| j.env[0].secret = "auth/token/{job}".parse().unwrap()).contains("about tokens"));
        assert!(job(|j| j.temp = Some([("A".parse().unwrap(), "b".parse().unwrap())].into())).contains("variable A"));
        assert!(text(|p| p.exec = true).contains("commands to start"));
        assert!(text(|p| (p.exec, p.env, p.job) = (true, Vec::new(), None)).contains("commands to start"));
        let file = |change: fn(&mut PlannedFile)| {
            let mut plan = plan();
            change(&mut plan.files[0]);
            Plan::parse(&plan.to_env_value().unwrap())
                .expect_err("refused")
                .to_string()
        };
        assert!(file(|f| f.when_gone = WhenGone::Delete).contains("never looked for again"));
        assert!(file(|f| f.file = "{{ .SecretKey }}".parse().unwrap()).contains("neither a key nor a format"));
        let whole = |f: &mut PlannedFile| f.key = None;
        assert!(file(whole).contains("raw, which needs a key"));
        let decoded = |f: &mut PlannedFile| (f.key, f.format, f.decode) = (None, Format::Json, Decode::Base64);
        assert!(file(decoded).contains("decoded, and that needs a key"));
        assert!(file(|f| (f.version, f.data) = (variable().version, Some(data()))).contains("a version of what"));
        assert!(file(|f| (f.secret, f.data) = ("sys/x".parse().unwrap(), Some(data()))).contains("the server's own"));
        assert!(
            job(|j| j.files[0].file = "{{ .SecretKey }}".parse().unwrap()).contains("for the job, which only init")
        );
        assert!(job(|j| j.files[0].data = Some(data())).contains("only init and the sidecar"));
        assert!(Plan::parse(r#"{"version":1,"surprise":true}"#).is_err());
        assert!(Plan::parse("").is_err());
    }
}
