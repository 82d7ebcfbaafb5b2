//! The rules between the parts of a plan, written once for webhook and agent: `Plan::parse` refuses a plan with the first violation,
//! and the webhook reports every violation to the author of the pod. (The parser of each type checks single values.)

mod rule;

use std::num::NonZeroU64;

pub(crate) use self::rule::{Rule, Subject, Violation};

use super::{
    ApiPath, Binary, Connection, Content, Data, Decode, Destination, Format, MAX_ENV_SECRETS, MAX_FILES, MAX_ON_CHANGE,
    MAX_TEMPLATE_REQUESTS, OnChange, Part, Plan, PlannedFile, SecretRequest, Select, WhenGone, words::words,
};
use crate::text::is_variable_name;

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

/// The facts about a file that the rules need. The webhook has these facts before there is a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileShape<'a> {
    pub(crate) read_by: ReadBy,
    pub(crate) content: ContentShape<'a>,
    pub(crate) file: &'a Destination,
    pub(crate) when_gone: WhenGone,
}

/// The facts about what is in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ContentShape<'a> {
    /// A secret, or a part of a secret.
    Secret {
        part: &'a Part,
        decode: Decode,
        format: Format,
    },
    Template,
}

/// The facts about one request for a secret.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestShape<'a> {
    pub(crate) read_by: ReadBy,
    /// The path as written, perhaps with placeholders.
    pub(crate) secret: &'a ApiPath,
    pub(crate) version: Option<NonZeroU64>,
    pub(crate) data: Option<&'a Data>,
}

/// The facts about refresh that the rules need. The webhook has these facts before there is a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefreshShape<'a, F> {
    /// Whether the files are kept fresh at all.
    pub(crate) is_on: bool,
    /// Whether `init` delivers anything that can change.
    pub(crate) init_delivers: bool,
    /// Whether the connection or the pod has a job policy.
    pub(crate) has_job_policy: bool,
    /// Whether job hooks run.
    pub(crate) has_hooks: bool,
    /// Whether the job hooks export the variables.
    pub(crate) exports: bool,
    pub(crate) has_job_env: bool,
    /// All files, of `init` and of the job.
    pub(crate) files: F,
    /// The file that holds the client token.
    pub(crate) token_file: Option<&'a Destination>,
    pub(crate) on_change: &'a [OnChange],
}

/// The broken rule about the path of a secret, read or written.
pub(crate) fn secret(path: &ApiPath) -> Option<Rule> {
    path.holds_tokens().then_some(Rule::SecretHoldsTokens)
}

/// The most important broken rule about data that is written to the path.
pub(crate) fn data(request: &RequestShape<'_>) -> Option<Rule> {
    if request.data.is_none() {
        None
    } else if request.read_by == ReadBy::Job {
        Some(Rule::DataForJob)
    } else if request.secret.is_the_servers_own() {
        Some(Rule::DataForServer)
    } else if request.secret.changes_its_engine().is_some() {
        Some(Rule::DataChangesEngine)
    } else {
        request.version.is_some().then_some(Rule::DataWithVersion)
    }
}

/// The broken rules about one request: [`secret`] and [`data`].
pub(crate) fn request(request: &RequestShape<'_>) -> impl Iterator<Item = Rule> + use<> {
    secret(request.secret).into_iter().chain(data(request))
}

/// The broken rules about the content of a file: the fields and the form.
pub(crate) fn content(file: &FileShape<'_>) -> impl Iterator<Item = Rule> + use<> {
    let each_field = matches!(file.file, Destination::EachField(_));
    let of_secret = match file.content {
        ContentShape::Template => None,
        ContentShape::Secret { part, decode, format } => {
            let one_field = each_field || part.key().is_some();
            let mut names = match part {
                Part::Keys(keys) => Some(keys.iter()),
                Part::Whole | Part::Key(_) => None,
            };
            let with_keys = each_field && names.is_some();
            let names = names.as_mut().filter(|_| format.names_variables());
            let key = names.and_then(|names| names.position(|named| !is_variable_name(&named.name)));
            Some([
                (each_field && part.key().is_some(), Rule::EachFieldWithKey),
                (with_keys, Rule::EachFieldWithKeys),
                (each_field && format != Format::Raw, Rule::EachFieldWithFormat),
                (!one_field && format == Format::Raw, Rule::RawNeedsKey),
                (!one_field && decode != Decode::None, Rule::DecodeNeedsKey),
                (
                    key.is_some(),
                    Rule::NotAVariable {
                        key: key.unwrap_or_default(),
                    },
                ),
            ])
        }
    };
    let rules = [
        (each_field && file.read_by == ReadBy::Job, Rule::EachFieldForJob),
        (each_field && of_secret.is_none(), Rule::EachFieldWithTemplate),
    ];
    let rules = rules.into_iter().chain(of_secret.into_iter().flatten());
    rules.filter_map(|(broken, rule)| broken.then_some(rule))
}

/// The broken rules about one file at a position: [`request`] for each of its requests, and [`content`].
pub(crate) fn file<'a>(
    index: usize,
    file: FileShape<'a>,
    requests: impl Iterator<Item = RequestShape<'a>>,
) -> impl Iterator<Item = Violation> {
    let requests = requests.enumerate().flat_map(move |(number, shape)| {
        let subject = Subject::Request { file: index, number };
        request(&shape).map(move |rule| subject.breaks(rule))
    });
    requests.chain(content(&file).map(move |rule| Subject::File(index).breaks(rule)))
}

/// The broken rules about the destinations of all files. A pair of files that cannot both be delivered is reported at the later
/// file.
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

/// The broken rules about the destinations of all files, if there are variables.
pub(crate) fn variables_directory<'a>(files: impl Iterator<Item = &'a Destination>) -> impl Iterator<Item = Violation> {
    let conflicts = |(index, file): (usize, &Destination)| file.conflicts_with_variables().then_some(index);
    let indexes = files.enumerate().filter_map(conflicts);
    indexes.map(|index| Subject::File(index).breaks(Rule::InVariablesDirectory))
}

/// The broken rules about refresh, on or off.
pub(crate) fn refresh<'a, F>(shape: RefreshShape<'a, F>) -> impl Iterator<Item = Violation>
where
    F: Iterator<Item = FileShape<'a>> + Clone + 'a,
{
    let on = shape.is_on;
    let actions = shape.on_change.len();
    let restarts = on && shape.on_change.contains(&OnChange::Restart);
    let whole = [
        (!on && actions > 0, Subject::OnChange, Rule::OnChangeNeedsRefresh),
        (restarts && actions > 1, Subject::OnChange, Rule::RestartNotAlone),
        (restarts && shape.has_hooks, Subject::OnChange, Rule::RestartWithHooks),
        (on && !shape.init_delivers, Subject::Refresh, Rule::NothingToRefresh),
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
        let files = shape.files.clone().map(|file| file.file).chain(shape.token_file);
        let touched = on.then(|| action.touched()).flatten();
        let directory = touched.as_ref().and_then(Destination::directory);
        let rule = if on && action.replaced(files.clone()).is_some() {
            Rule::TouchedIsReplaced
        } else if directory.is_some()
            && files
                .filter_map(Destination::directory)
                .all(|of_file| Some(of_file) != directory)
        {
            Rule::TouchedNowhere
        } else {
            return None;
        };
        Some(Subject::Action(index).breaks(rule))
    });
    whole.chain(files).chain(too_many).chain(touched)
}

/// The broken rule about the number of files ([`Subject::Plan`]), of secrets that all templates name ([`Subject::Templates`]), or
/// of entries of variables ([`Subject::Env`], [`Subject::JobEnv`]).
pub(crate) fn count(subject: Subject, count: usize) -> Option<Violation> {
    let rule = match subject {
        Subject::Env | Subject::JobEnv if count > MAX_ENV_SECRETS => Rule::TooManyVariables(count),
        Subject::Plan if count > MAX_FILES => Rule::TooManyFiles(count),
        Subject::Templates if count > MAX_TEMPLATE_REQUESTS => Rule::TooManyRequests(count),
        _ => return None,
    };
    Some(subject.breaks(rule))
}

/// The longest name of a variable that the kubelet reads from a file, in bytes (KEP-3721).
pub(crate) const MAX_KUBELET_NAME: usize = 128;

/// The broken rules about variables that the kubelet sets.
pub(crate) fn kubelet_env<'a>(env: impl Iterator<Item = &'a Select>) -> impl Iterator<Item = Violation> {
    env.enumerate().filter_map(|(index, select)| {
        let rule = match select {
            Select::UpperCase { .. } | Select::KeepCase { .. } => Rule::NamesUnknownToKubelet,
            Select::Value { name, .. } if !is_for_kubelet(name.as_str()) => Rule::NameNotForKubelet,
            Select::Value { .. } => return None,
        };
        Some(Subject::EnvEntry(index).breaks(rule))
    })
}

/// Whether the API server takes the name (`IsRelaxedEnvVarName`: printable ASCII without `=`), and the kubelet does not take it for a
/// comment. (An [`EnvName`](super::EnvName) has no white space and no quotes.)
fn is_for_kubelet(name: &str) -> bool {
    name.len() <= MAX_KUBELET_NAME && !name.starts_with('#') && name.bytes().all(|b| b.is_ascii_graphic())
}

/// The broken rule about the connection to the server.
pub(crate) fn connection(is_tls: bool, allow_insecure_http: bool) -> Option<Rule> {
    (!is_tls && !allow_insecure_http).then_some(Rule::InsecureHttp)
}

/// Whether nothing in the plan needs `podkey-init`.
fn can_work_without_init(plan: &Plan) -> bool {
    let is_linked = |file: &Destination| !matches!(file, Destination::Absolute(_)) || file.may_be_linked();
    plan.binary == Binary::ImageVolume
        && !plan.init_logs_in()
        && plan.refresh.is_none()
        && plan.destinations().all(is_linked)
}

/// The broken rules of a plan.
pub(crate) fn plan(plan: &Plan) -> impl Iterator<Item = Violation> {
    let job_env = || plan.job.iter().flat_map(|job| &job.env);
    let has_variables = !plan.env.is_empty() || job_env().next().is_some();
    let files = plan.destinations().count();
    let counts = [
        count(Subject::Plan, files),
        count(Subject::Env, plan.env.len()),
        count(Subject::JobEnv, job_env().count()),
        count(Subject::Templates, plan.template_requests()),
    ];
    let Connection {
        address,
        allow_insecure_http,
        ..
    } = &plan.connection;
    let insecure = connection(address.is_tls(), *allow_insecure_http);
    let env = plan.env.iter().enumerate();
    let env = env.filter_map(|(index, env)| Some(Subject::EnvEntry(index).breaks(secret(&env.secret)?)));
    let for_kubelet = plan.env.iter().filter(|_| plan.kubelet_env);
    let env = env.chain(kubelet_env(for_kubelet.map(|env| &env.select)));
    let job_env = job_env().enumerate();
    let job_env =
        job_env.filter_map(|(index, env)| Some(Subject::JobEnvEntry(index).breaks(secret(env.secret.as_path())?)));
    let variables = has_variables.then(|| variables_directory(plan.destinations()));
    let copies = plan.job.iter().flat_map(|job| &job.temp).flatten().enumerate();
    let copies = copies.filter_map(|(index, (_, file))| {
        let is_delivered = plan.destinations().any(|known| known == file);
        (!is_delivered).then_some(Subject::Copy(index).breaks(Rule::CopyOfNoFile))
    });
    let in_directory = plan.destinations().enumerate().filter_map(|(index, file)| {
        let is_broken = plan.job.is_some() && file.directory().is_some();
        is_broken.then_some(Subject::File(index).breaks(Rule::DirectoryWithHooks))
    });
    let token_file = plan.token_file.iter().filter_map(move |token| {
        let is_broken = token.file.directory().is_none() || token.file.is_reserved();
        is_broken.then_some(Subject::File(files.saturating_sub(1)).breaks(Rule::TokenFilePlace))
    });
    counts
        .into_iter()
        .flatten()
        .chain(whole(plan))
        .chain(token_file)
        .chain(in_directory)
        .chain(insecure.map(|rule| Subject::Connection.breaks(rule)))
        .chain(files_of(plan))
        .chain(env)
        .chain(job_env)
        .chain(refresh(plan.refresh_shape()))
        .chain(destinations(plan.destinations()))
        .chain(variables.into_iter().flatten())
        .chain(copies)
}

/// The broken rules about the plan as a whole: whether there is anything to do, and whether everything has who does it.
fn whole(plan: &Plan) -> impl Iterator<Item = Violation> + use<> {
    let job_env = plan.job.iter().flat_map(|job| &job.env);
    let has_variables = !plan.env.is_empty() || job_env.count() > 0;
    let job_reads = plan.job.as_ref().is_some_and(|job| job.reads());
    let job_login = plan.job.as_ref().is_some_and(|job| job.login.is_some());
    let files = plan.destinations().count();
    let rules = [
        (files == 0 && !has_variables, Subject::Plan, Rule::NothingToDeliver),
        (
            plan.exec && (plan.env.is_empty() || plan.job.is_some()),
            Subject::Exec,
            Rule::NothingToStart,
        ),
        (
            plan.kubelet_env && (plan.env.is_empty() || plan.job.is_some()),
            Subject::KubeletEnv,
            Rule::NothingForKubelet,
        ),
        (
            plan.init_logs_in() && plan.login.is_none(),
            Subject::Login,
            Rule::InitNeedsLogin,
        ),
        (job_reads && !job_login, Subject::JobLogin, Rule::JobNeedsLogin),
        (
            plan.hooks_alone && !(job_reads && can_work_without_init(plan)),
            Subject::Plan,
            Rule::NeedsInit,
        ),
    ];
    rules
        .into_iter()
        .filter_map(|(broken, subject, rule)| broken.then_some(subject.breaks(rule)))
}

/// The broken rules about each file: those of `init` first, then those of the job.
fn files_of(plan: &Plan) -> impl Iterator<Item = Violation> {
    let of_files = plan.files.iter().enumerate();
    let of_files = of_files.flat_map(|(index, planned)| {
        let requests = planned.requests().iter().map(|request| request.shape(ReadBy::Init));
        file(index, planned.shape(ReadBy::Init), requests)
    });
    let of_job_files = (plan.files.len()..).zip(plan.job.iter().flat_map(|job| &job.files));
    let of_job_files = of_job_files.flat_map(|(index, planned)| {
        let requests = planned.requests().iter().map(|request| request.shape(ReadBy::Job));
        file(index, planned.shape(ReadBy::Job), requests)
    });
    of_files.chain(of_job_files)
}

impl Plan {
    fn file_shapes(&self) -> impl Iterator<Item = FileShape<'_>> + Clone {
        let job = self.job.iter().flat_map(|job| &job.files);
        let job = job.map(|file| file.shape(ReadBy::Job));
        self.files.iter().map(|file| file.shape(ReadBy::Init)).chain(job)
    }

    /// How many secrets all templates name.
    fn template_requests(&self) -> usize {
        let job = self.job.iter().flat_map(|job| &job.files);
        let job = job.map(|file| file.content.template_requests());
        let init = self.files.iter().map(|file| file.content.template_requests());
        init.chain(job).sum()
    }

    fn refresh_shape(&self) -> RefreshShape<'_, impl Iterator<Item = FileShape<'_>> + Clone> {
        let job = self.job.as_ref();
        RefreshShape {
            is_on: self.refresh.is_some(),
            init_delivers: self.init_logs_in(),
            has_job_policy: job.is_some_and(|job| !job.policies.is_empty()),
            has_hooks: job.is_some(),
            exports: job.is_some_and(|job| job.export),
            has_job_env: job.is_some_and(|job| !job.env.is_empty()),
            files: self.file_shapes(),
            token_file: self.token_file.as_ref().map(|token| &token.file),
            on_change: self.refresh.as_ref().map_or(&[], |refresh| &refresh.on_change),
        }
    }
}

impl<P> PlannedFile<P> {
    fn shape(&self, read_by: ReadBy) -> FileShape<'_> {
        FileShape {
            read_by,
            content: self.content.shape(),
            file: &self.file,
            when_gone: self.when_gone,
        }
    }
}

impl<P> Content<P> {
    /// What the rules ask about the content.
    pub(crate) fn shape(&self) -> ContentShape<'_> {
        match self {
            Self::Secret(content) => ContentShape::Secret {
                part: &content.part,
                decode: content.decode,
                format: content.format,
            },
            Self::Template(_) => ContentShape::Template,
        }
    }

    /// How many secrets the template names. 0: the content is no template.
    pub(crate) fn template_requests(&self) -> usize {
        match self {
            Self::Secret(_) => 0,
            Self::Template(template) => template.requests().len(),
        }
    }
}

impl<P: AsRef<ApiPath>> SecretRequest<P> {
    /// What the rules ask about the request.
    pub(crate) fn shape(&self, read_by: ReadBy) -> RequestShape<'_> {
        RequestShape {
            read_by,
            secret: self.secret.as_ref(),
            version: self.version,
            data: self.data.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests;
