//! The rules between the parts of a plan, each written once for both halves: `Plan::parse` refuses the first violation, and the
//! webhook words every violation for the author of the pod. (What one value may be is the matter of its own type.)

use std::fmt;

use super::{
    ApiPath, Connection, Decode, Destination, ENV_DIR, Format, MAX_ENV_SECRETS, MAX_FILES, MAX_ON_CHANGE, OnChange,
    Plan, PlannedFile, WhenGone, words::words,
};

/// A rule that is broken, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) subject: Subject,
    pub(crate) rule: Rule,
}

/// The part of a plan, or of a request, that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The plan as a whole.
    Plan,
    /// The server's address.
    Connection,
    /// The login of `init`.
    Login,
    /// The login of the job.
    JobLogin,
    /// The file at this position: the files of `init` first, then the files of the job, as in [`Plan::destinations`].
    File(usize),
    /// All variables that `init` reads (`podkey.dev/env`).
    Env,
    /// The entry at this position of the variables that `init` reads.
    EnvEntry(usize),
    /// All variables that the job reads (`podkey.dev/job-env`).
    JobEnv,
    /// The entry at this position of the variables that the job reads.
    JobEnvEntry(usize),
    /// Commands of containers that start with the variables.
    Exec,
    /// Whether the job's variables are exported.
    Export,
    /// The copy at this position of the copies for jobs in a container.
    Copy(usize),
    /// The interval of the sidecar.
    Refresh,
    /// All actions after a change.
    OnChange,
    /// The action at this position.
    Action(usize),
}

/// A rule. The name says what is wrong, or what is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The path answers with a client token, see [`ApiPath::holds_tokens`].
    SecretHoldsTokens,
    /// Each job would write the path; only `init` and the sidecar write.
    DataForJob,
    /// `data` is for secrets engines, see [`ApiPath::is_the_servers_own`].
    DataForServer,
    /// The write answers with no secret, see [`ApiPath::changes_its_engine`].
    DataChangesEngine,
    /// A version belongs to a secret that is read, and `data` makes the request a write.
    DataWithVersion,
    /// `{{ .SecretKey }}` makes a file of each field, a key chooses one field.
    EachFieldWithKey,
    /// A file of each field holds the field's bytes.
    EachFieldWithFormat,
    /// The started hook writes only files whose names are known when the pod is made.
    EachFieldForJob,
    /// The format `raw` holds one field.
    RawNeedsKey,
    /// One field is decoded, never a whole secret.
    DecodeNeedsKey,
    /// Two files have one destination.
    SameDestination {
        /// The position of the earlier file.
        other: usize,
    },
    /// A file would be where a directory of the other file is.
    OverlappingDestination {
        /// The position of the earlier file.
        other: usize,
    },
    /// The file would be in, or in place of, the directory [`ENV_DIR`], and there are variables.
    InVariablesDirectory,
    /// Without refresh a secret is read once, so podkey never sees that it is gone.
    WhenGoneNeedsRefresh,
    /// Without refresh the files never change.
    OnChangeNeedsRefresh,
    /// `init` reads nothing, so there is nothing to read again.
    NothingToRefresh,
    /// The sidecar would write again what the job policy refused.
    PolicyWithRefresh,
    /// With refresh only the sidecar writes files. Variables of the job that are not exported are files.
    VariableFilesWithRefresh,
    /// With refresh only the sidecar writes files. The started hook writes this file.
    JobFileWithRefresh,
    /// A file with an absolute destination is a mount of its own, which shows its first content for ever.
    MountWithRefresh,
    /// The name is podkey's own, see [`Destination::is_reserved`].
    ReservedWithRefresh,
    /// More than [`MAX_ON_CHANGE`] actions.
    TooManyActions(usize),
    /// A change replaces the touched file, see [`OnChange::replaced`].
    TouchedIsReplaced,
    /// No file and no variable.
    NothingToDeliver,
    /// More than [`MAX_FILES`] files.
    TooManyFiles(usize),
    /// More than [`MAX_ENV_SECRETS`] entries of one kind.
    TooManyVariables(usize),
    /// Commands start with variables only where `init` reads variables and no job hook exports them.
    NothingToStart,
    /// The copy is a copy of a file that the plan does not deliver.
    CopyOfNoFile,
    /// `init` reads, and has no login.
    InitNeedsLogin,
    /// The job reads, and has no login.
    JobNeedsLogin,
    /// The address is plain http, and the operator did not allow that.
    InsecureHttp,
}

impl fmt::Display for Rule {
    /// What is wrong, for whoever reads the agent's log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretHoldsTokens => "the path is about tokens, not about a secret",
            Self::DataForJob => "the job reads the file, and only init and the sidecar write data",
            Self::DataForServer => "the path is the server's own, and data goes to secrets engines only",
            Self::DataChangesEngine => "a write to the path changes the engine, and the answer holds no secret",
            Self::DataWithVersion => "a version is for a secret that is read, and data makes the request a write",
            Self::EachFieldWithKey => "one file for each field takes no key",
            Self::EachFieldWithFormat => "one file for each field is always raw",
            Self::EachFieldForJob => "the job cannot read one file for each field",
            Self::RawNeedsKey => "the format raw needs a key",
            Self::DecodeNeedsKey => "decode needs a key",
            Self::SameDestination { .. } => "another file has the same destination",
            Self::OverlappingDestination { .. } => "another file's destination is above or below this destination",
            Self::InVariablesDirectory => {
                return write!(f, "the directory {ENV_DIR} is kept for the values of variables");
            }
            Self::WhenGoneNeedsRefresh => "when-gone needs refresh, without which a secret is read only once",
            Self::OnChangeNeedsRefresh => "on-change needs refresh, without which the files never change",
            Self::NothingToRefresh => "init reads nothing that the sidecar could read again",
            Self::PolicyWithRefresh => "the sidecar would write again what the job policy refuses",
            Self::VariableFilesWithRefresh => {
                "only the sidecar may write files, and the job's variables are files where they are not exported"
            }
            Self::JobFileWithRefresh => "only the sidecar may write files, and the job reads this file",
            Self::MountWithRefresh => "the file is mounted on its own, and refresh cannot replace such a file",
            Self::ReservedWithRefresh => "podkey keeps this name for itself",
            Self::TooManyActions(count) => return write!(f, "{count} actions, at most {MAX_ON_CHANGE} are allowed"),
            Self::TouchedIsReplaced => "each change replaces the touched file, because podkey writes files there",
            Self::NothingToDeliver => "no file and no variable to deliver",
            Self::TooManyFiles(count) => return write!(f, "{count} files, at most {MAX_FILES} are allowed"),
            Self::TooManyVariables(count) => {
                return write!(f, "{count} entries of one kind, at most {MAX_ENV_SECRETS} are allowed");
            }
            Self::NothingToStart => "commands start with variables only if init reads variables and no job hook runs",
            Self::CopyOfNoFile => "the plan delivers no such file",
            Self::InitNeedsLogin => "init reads secrets, and has no login",
            Self::JobNeedsLogin => "the job reads secrets, and has no login",
            Self::InsecureHttp => "the address is http://, and allowInsecureHttp is not set",
        })
    }
}

words! {
    /// Who reads a secret (`as`).
    pub(crate) enum ReadBy {
        /// podkey-init reads the secret before the containers start.
        Init = "init",
        /// Each job of the runner reads the secret for itself, with the job's own identity.
        Job = "job",
    }
    default Init
}

/// What the rules ask about a file. The webhook has it before there is a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileShape<'a> {
    pub(crate) read_by: ReadBy,
    /// As written, perhaps with placeholders.
    pub(crate) secret: &'a ApiPath,
    pub(crate) has_version: bool,
    pub(crate) has_data: bool,
    pub(crate) has_key: bool,
    pub(crate) decode: Decode,
    pub(crate) format: Format,
    pub(crate) file: &'a Destination,
    pub(crate) when_gone: WhenGone,
}

/// What the rules ask about refresh. The webhook has it before there is a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefreshShape<'a, F> {
    /// Whether the files are kept fresh at all.
    pub(crate) is_on: bool,
    pub(crate) init_reads: bool,
    /// Of the connection or of the pod.
    pub(crate) has_job_policy: bool,
    /// Whether the job hooks export the variables.
    pub(crate) exports: bool,
    pub(crate) has_job_env: bool,
    /// All files, of `init` and of the job.
    pub(crate) files: F,
    pub(crate) on_change: &'a [OnChange],
}

/// About the path of a secret that is read or written.
pub(crate) fn secret(path: &ApiPath) -> Option<Rule> {
    path.holds_tokens().then_some(Rule::SecretHoldsTokens)
}

/// About what is written to the path: the most important rule that is broken.
pub(crate) fn data(file: &FileShape<'_>) -> Option<Rule> {
    if !file.has_data {
        None
    } else if file.read_by == ReadBy::Job {
        Some(Rule::DataForJob)
    } else if file.secret.is_the_servers_own() {
        Some(Rule::DataForServer)
    } else if file.secret.changes_its_engine().is_some() {
        Some(Rule::DataChangesEngine)
    } else {
        file.has_version.then_some(Rule::DataWithVersion)
    }
}

/// About the content of a file: which fields, and in which form.
pub(crate) fn content(file: &FileShape<'_>) -> impl Iterator<Item = Rule> + use<> {
    let each_field = matches!(file.file, Destination::EachField(_));
    let whole = !each_field && !file.has_key;
    [
        (each_field && file.read_by == ReadBy::Job, Rule::EachFieldForJob),
        (each_field && file.has_key, Rule::EachFieldWithKey),
        (each_field && file.format != Format::Raw, Rule::EachFieldWithFormat),
        (whole && file.format == Format::Raw, Rule::RawNeedsKey),
        (whole && file.decode != Decode::None, Rule::DecodeNeedsKey),
    ]
    .into_iter()
    .filter_map(|(broken, rule)| broken.then_some(rule))
}

/// About one file: [`secret`], [`data`] and [`content`].
pub(crate) fn file(file: &FileShape<'_>) -> impl Iterator<Item = Rule> + use<> {
    secret(file.secret).into_iter().chain(data(file)).chain(content(file))
}

/// About the destinations of all files: every pair that cannot both be delivered, at the later file.
pub(crate) fn destinations<'a>(
    files: impl Iterator<Item = &'a Destination> + Clone,
) -> impl Iterator<Item = Violation> {
    files.clone().enumerate().flat_map(move |(index, file)| {
        let earlier = files.clone().take(index).enumerate();
        earlier.filter_map(move |(other, earlier)| {
            let rule = match file.conflicts_with(earlier) {
                false => return None,
                true if file == earlier => Rule::SameDestination { other },
                true => Rule::OverlappingDestination { other },
            };
            Some(Subject::File(index).breaks(rule))
        })
    })
}

/// About the destinations of all files, where there are variables.
pub(crate) fn variables_directory<'a>(files: impl Iterator<Item = &'a Destination>) -> impl Iterator<Item = Violation> {
    let conflicts = |(index, file): (usize, &Destination)| file.conflicts_with_variables().then_some(index);
    let indexes = files.enumerate().filter_map(conflicts);
    indexes.map(|index| Subject::File(index).breaks(Rule::InVariablesDirectory))
}

/// About refresh, whether it is on or off.
pub(crate) fn refresh<'a, F>(shape: RefreshShape<'a, F>) -> impl Iterator<Item = Violation>
where
    F: Iterator<Item = FileShape<'a>> + Clone + 'a,
{
    let on = shape.is_on;
    let actions = shape.on_change.len();
    let whole = [
        (!on && actions > 0, Subject::OnChange, Rule::OnChangeNeedsRefresh),
        (on && !shape.init_reads, Subject::Refresh, Rule::NothingToRefresh),
        (on && shape.has_job_policy, Subject::Refresh, Rule::PolicyWithRefresh),
        (
            on && !shape.exports && shape.has_job_env,
            Subject::Export,
            Rule::VariableFilesWithRefresh,
        ),
    ];
    let whole = whole
        .into_iter()
        .filter_map(|(broken, subject, rule)| broken.then_some(subject.breaks(rule)));
    let files = shape.files.clone().enumerate().flat_map(move |(index, file)| {
        let rules = [
            (!on && file.when_gone != WhenGone::Keep, Rule::WhenGoneNeedsRefresh),
            (on && file.read_by == ReadBy::Job, Rule::JobFileWithRefresh),
            (
                on && matches!(file.file, Destination::Absolute(_)),
                Rule::MountWithRefresh,
            ),
            (on && file.file.is_reserved(), Rule::ReservedWithRefresh),
        ];
        rules
            .into_iter()
            .filter_map(move |(broken, rule)| broken.then_some(Subject::File(index).breaks(rule)))
    });
    let too_many = (actions > MAX_ON_CHANGE).then_some(Subject::OnChange.breaks(Rule::TooManyActions(actions)));
    let touched = shape.on_change.iter().enumerate().filter_map(move |(index, action)| {
        let files = shape.files.clone().map(|file| file.file);
        let is_replaced = on && action.replaced(files).is_some();
        is_replaced.then_some(Subject::Action(index).breaks(Rule::TouchedIsReplaced))
    });
    whole.chain(files).chain(too_many).chain(touched)
}

/// About the number of files, or of entries for variables.
pub(crate) fn count(subject: Subject, count: usize) -> Option<Violation> {
    let rule = match subject {
        Subject::Env | Subject::JobEnv if count > MAX_ENV_SECRETS => Rule::TooManyVariables(count),
        Subject::Plan if count > MAX_FILES => Rule::TooManyFiles(count),
        _ => return None,
    };
    Some(subject.breaks(rule))
}

/// About how the server is reached.
pub(crate) fn connection(is_tls: bool, allow_insecure_http: bool) -> Option<Rule> {
    (!is_tls && !allow_insecure_http).then_some(Rule::InsecureHttp)
}

/// All about a plan.
pub(crate) fn plan(plan: &Plan) -> impl Iterator<Item = Violation> {
    let job_env = || plan.job.iter().flat_map(|job| &job.env);
    let has_variables = !plan.env.is_empty() || job_env().next().is_some();
    let job_reads = plan.job.as_ref().is_some_and(|job| job.reads());
    let job_login = plan.job.as_ref().is_some_and(|job| job.login.is_some());
    let files = plan.destinations().count();
    let whole = [
        (files == 0 && !has_variables, Subject::Plan, Rule::NothingToDeliver),
        (
            plan.exec && (plan.env.is_empty() || plan.job.is_some()),
            Subject::Exec,
            Rule::NothingToStart,
        ),
        (
            plan.init_reads() && plan.login.is_none(),
            Subject::Login,
            Rule::InitNeedsLogin,
        ),
        (job_reads && !job_login, Subject::JobLogin, Rule::JobNeedsLogin),
    ];
    let whole = whole
        .into_iter()
        .filter_map(|(broken, subject, rule)| broken.then_some(subject.breaks(rule)));
    let counts = [
        count(Subject::Plan, files),
        count(Subject::Env, plan.env.len()),
        count(Subject::JobEnv, job_env().count()),
    ];
    let Connection {
        address,
        allow_insecure_http,
        ..
    } = &plan.connection;
    let insecure = connection(address.is_tls(), *allow_insecure_http);
    let of_files = plan
        .file_shapes()
        .enumerate()
        .flat_map(|(index, shape)| file(&shape).map(move |rule| Subject::File(index).breaks(rule)));
    let env = plan.env.iter().enumerate();
    let env = env.filter_map(|(index, env)| Some(Subject::EnvEntry(index).breaks(secret(&env.secret)?)));
    let job_env = job_env().enumerate();
    let job_env =
        job_env.filter_map(|(index, env)| Some(Subject::JobEnvEntry(index).breaks(secret(env.secret.as_path())?)));
    let variables = has_variables.then(|| variables_directory(plan.destinations()));
    let copies = plan.job.iter().flat_map(|job| &job.temp).flatten().enumerate();
    let copies = copies.filter_map(|(index, (_, file))| {
        let is_delivered = plan.destinations().any(|known| known == file);
        (!is_delivered).then_some(Subject::Copy(index).breaks(Rule::CopyOfNoFile))
    });
    counts
        .into_iter()
        .flatten()
        .chain(whole)
        .chain(insecure.map(|rule| Subject::Connection.breaks(rule)))
        .chain(of_files)
        .chain(env)
        .chain(job_env)
        .chain(refresh(plan.refresh_shape()))
        .chain(destinations(plan.destinations()))
        .chain(variables.into_iter().flatten())
        .chain(copies)
}

impl Subject {
    fn breaks(self, rule: Rule) -> Violation {
        Violation { subject: self, rule }
    }
}

impl Plan {
    fn file_shapes(&self) -> impl Iterator<Item = FileShape<'_>> + Clone {
        let job = self.job.iter().flat_map(|job| &job.files);
        let job = job.map(|file| file.shape(ReadBy::Job, file.secret.as_path()));
        let init = self.files.iter().map(|file| file.shape(ReadBy::Init, &file.secret));
        init.chain(job)
    }

    fn refresh_shape(&self) -> RefreshShape<'_, impl Iterator<Item = FileShape<'_>> + Clone> {
        let job = self.job.as_ref();
        RefreshShape {
            is_on: self.refresh.is_some(),
            init_reads: self.init_reads(),
            has_job_policy: job.is_some_and(|job| !job.policies.is_empty()),
            exports: job.is_some_and(|job| job.export),
            has_job_env: job.is_some_and(|job| !job.env.is_empty()),
            files: self.file_shapes(),
            on_change: self.refresh.as_ref().map_or(&[], |refresh| &refresh.on_change),
        }
    }
}

impl<P> PlannedFile<P> {
    fn shape<'a>(&'a self, read_by: ReadBy, secret: &'a ApiPath) -> FileShape<'a> {
        FileShape {
            read_by,
            secret,
            has_version: self.version.is_some(),
            has_data: self.data.is_some(),
            has_key: self.key.is_some(),
            decode: self.decode,
            format: self.format,
            file: &self.file,
            when_gone: self.when_gone,
        }
    }
}

#[cfg(test)]
mod tests;
