//! What is wrong with a request for this pod. Each check answers one question from the survey, the request and the operator's config.
//! No check depends on the problems that another check found.

mod access;
mod additions;
mod advice;
mod connection;
mod destinations;
mod engines;
mod env_delivery;
mod exec;
mod file_keys;
mod hooks;
mod image_volume;
pub(crate) mod injected;
mod mounts;
mod names;
mod order;
mod pod_spec;
mod policy;
mod programs;
mod readers;
mod references;
mod refresh;
mod runner_files;
mod token_file;
mod warnings;

use crate::inject::check::destinations::Destinations;
use crate::inject::check::injected::InjectedState;
use crate::inject::config::{Config, ConnectionConfig};
use crate::inject::parts::additions::Additions;
use crate::inject::parts::mounts as part_mounts;
use crate::inject::parts::plan::{self, PodPlan, WholeRequest};
use crate::inject::parts::volumes;
use crate::inject::problem::Problems;
use crate::inject::problem::Warnings;
use crate::inject::request::InjectionRequest;
use crate::inject::request::variables;
use crate::inject::survey::Survey;
use crate::inject::words::keys::{ENV, FILES};
use crate::plan::MAX_PLAN_BYTES;

/// What the checks leave of a request without problems: all that the patch is built from.
#[derive(Debug)]
pub(crate) struct Injection<'s, 'c> {
    pub(crate) connection: &'c ConnectionConfig,
    pub(crate) additions: Vec<Additions<'s>>,
    pub(crate) state: InjectedState,
    /// Whether a change restarts the containers.
    pub(crate) restarts: bool,
    /// The plan as the environment variable `PODKEY_PLAN` has it.
    pub(crate) plan: String,
    /// The names of the volumes that the plan needs.
    pub(crate) volumes: Vec<&'static str>,
    pub(crate) warnings: Warnings,
}

/// Runs every check, so that the author learns of all problems at once. `whole` is the request if all annotations parsed. None: the
/// pod is refused.
pub(crate) fn check<'s, 'c>(
    survey: &Survey<'s>,
    request: &'s InjectionRequest,
    whole: Option<WholeRequest<'s>>,
    namespace: &str,
    config: &'c Config,
    problems: &mut Problems,
) -> Option<Injection<'s, 'c>> {
    let file_mounts = match survey.hooks_alone {
        true => vec![part_mounts::without_init()],
        false => part_mounts::of_files(request, survey.job_hooks, survey.variables_are_files()),
    };
    pod_spec::check(survey.pod, request, config, problems);
    token_file::check(request, config, problems);
    names::check(survey, problems);
    mounts::check(survey, whole.map(|_| &*file_mounts), problems);
    if whole.is_some() {
        file_keys::check(survey, request, problems);
    }
    let connection = connection::choose(request, config, problems);
    let login = connection.map(|connection| connection::login(request, connection, problems));
    readers::check(survey, problems);
    image_volume::check(survey, config, problems);
    pod_spec::check_user(survey, request, problems);
    hooks::check(survey, request, connection, problems);
    variables::check(request, problems);
    env_delivery::check(survey, request, config, problems);
    refresh::check(survey, config, connection, request, problems);
    references::check(survey, request, problems);
    let mut advice = advice::advice(survey, request, config);
    engines::check(request, problems, &mut advice);
    order::check(survey, problems);
    let destinations = Destinations::of(&request.files);
    programs::check(survey, &destinations, problems);
    runner_files::check(survey, &destinations, problems);
    let additions = additions::check(survey, request, &file_mounts, problems);
    // A plan needs a connection, a login, and annotations that all parsed. All other problems leave a plan to check.
    let (connection, login) = (connection?, login?.ok()?);
    let mut plan = plan::plan(survey, whole?, connection, login);
    access::check(survey.pod, namespace, connection, &mut plan, problems);
    let state = injected::check(survey, request, &plan, connection, problems);
    let volumes = volumes::needed(&plan);
    let plan = plan_text(&plan, request, problems);
    problems.is_empty().then(|| Injection {
        connection,
        additions,
        state,
        restarts: request.restarts(),
        plan,
        volumes,
        warnings: warnings::warnings(survey, connection, state, advice),
    })
}

fn plan_text(plan: &PodPlan<'_>, request: &InjectionRequest, problems: &mut Problems) -> String {
    let text = plan.to_env_value().unwrap_or_default();
    if text.is_empty() || text.len() > MAX_PLAN_BYTES {
        let bytes = text.len();
        problems.push(
            if request.files.is_empty() { ENV } else { FILES },
            format!("makes a plan of {bytes} bytes, but at most {MAX_PLAN_BYTES} are allowed: ask for less"),
        );
    }
    text
}
