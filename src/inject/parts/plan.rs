//! The plan of a pod: what podkey's containers get as `PODKEY_PLAN`.

use serde_json::value::RawValue;

use crate::inject::config::ConnectionConfig;
use crate::inject::problem::Problems;
use crate::inject::request::InjectionRequest;
use crate::inject::request::files::FileRequest;
use crate::inject::survey::{AgentUse, Survey};
use crate::plan::{Destination, EnvName, JobPlan, Login, Mode, PLAN_VERSION, Plan, Refresh, TokenFile};

/// A plan that holds its connection as JSON text, which was written when the config was read.
pub(crate) type PodPlan<'c> = Plan<&'c RawValue>;

/// A request whose annotations all parsed. There is no plan for any other request: nobody knows what its author wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WholeRequest<'r>(pub(crate) &'r InjectionRequest);

impl<'r> WholeRequest<'r> {
    /// `problems` are those that parsing the annotations has found.
    pub(crate) fn of(request: &'r InjectionRequest, problems: &Problems) -> Option<Self> {
        problems.is_empty().then_some(Self(request))
    }
}

/// The plan of the pod. `login` is absent if the job reads every secret.
pub(crate) fn plan<'c>(
    survey: &Survey<'_>,
    WholeRequest(request): WholeRequest<'_>,
    connection: &'c ConnectionConfig,
    login: Option<Login>,
) -> PodPlan<'c> {
    let files = request.files.iter();
    Plan {
        version: PLAN_VERSION,
        connection: &connection.server_json,
        login,
        budget: connection.budget,
        ignore_not_found: request.ignore_not_found,
        mount_lookup: request.mount_lookup.clone(),
        files: files.filter_map(|file| file.for_init(survey.default_mode)).collect(),
        token_file: request.token_file.clone().map(|file| TokenFile {
            file,
            mode: survey.token_mode(),
        }),
        env: request.env.clone(),
        env_mode: match request.has_variables() && survey.variables_are_files() {
            true => survey.default_mode,
            false => Mode::default(),
        },
        exec: survey.agent_use == AgentUse::Exec,
        binary: survey.binary,
        hooks_alone: survey.hooks_alone,
        kubelet_env: survey.kubelet_sets_variables(),
        job: survey
            .hook_user()
            .map(|user| job_plan(user, survey, request, connection)),
        refresh: request.refresh.given().map(|interval| Refresh {
            interval,
            on_change: request.on_change.clone(),
        }),
    }
}

/// The part of the plan that the job hooks carry out. `user` is the user of the hooks.
fn job_plan(user: u32, survey: &Survey<'_>, request: &InjectionRequest, connection: &ConnectionConfig) -> JobPlan {
    let files = request.files.iter();
    let policies = connection.job.policy.iter().chain(&request.job_policy);
    let mut job = JobPlan {
        user,
        on_failure: survey.on_failure,
        mask: request.mask.unwrap_or_default(),
        export: request.exports(),
        deadline: connection.job.deadline,
        login: None,
        files: files
            .clone()
            .filter_map(|file| file.for_job(survey.default_mode))
            .collect(),
        env: request.job_env.clone(),
        policies: policies.cloned().collect(),
        temp: request.job_temp.then(|| files.filter_map(job_copy).collect()),
    };
    if job.reads() {
        job.login.clone_from(&connection.job.login);
    }
    job
}

/// The variable that names the file's copy for jobs in a container, and the file. None: the file has no variable, or one that
/// belongs to the runner.
pub(crate) fn job_copy(file: &FileRequest) -> Option<(EnvName, Destination)> {
    let name: EnvName = file.env.as_deref()?.parse().ok()?;
    (!name.is_the_runners()).then(|| (name, file.file.clone()))
}
