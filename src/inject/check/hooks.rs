//! Why the runner's job hooks cannot do what the request asks for, and what needs job hooks in a pod without them.
//! <https://docs.github.com/en/actions/how-tos/manage-runners/self-hosted-runners/run-scripts>

use crate::inject::config::ConnectionConfig;
use crate::inject::parts::plan::job_copy;
use crate::inject::pod::runner::RUNNER;
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::files::FileRequest;
use crate::inject::request::{EnvDelivery, InjectionRequest, Requested};
use crate::inject::survey::Survey;
use crate::inject::survey::readers::MissingReaders;
use crate::inject::words::keys::{
    CONNECTION, CONTAINERS, ENV, ENV_DELIVERY, EXPORT, JOB_ENV, JOB_HOOKS, JOB_POLICY, JOB_TEMP, MASK, ON_FAILURE,
};
use crate::plan::{Destination, ENV_DIR, JobPolicy, OnFailure, SECRETS_DIR, Select};

pub(super) fn check(
    survey: &Survey<'_>,
    request: &InjectionRequest,
    connection: Option<&ConnectionConfig>,
    problems: &mut Problems,
) {
    let operators_policy = connection.and_then(|connection| connection.job.policy.as_ref());
    // Nobody knows whether the author wants job hooks.
    if request.job_hooks.is_invalid() {
        return;
    }
    if !survey.job_hooks.are_on() {
        check_without(survey, request, operators_policy, problems);
        return;
    }
    if let Some(connection) = connection.filter(|connection| connection.job.login.is_none()) {
        check_job_secrets(connection, request, problems);
    }
    if request.exports() {
        check_exported(request, problems);
    }
    if request.job_temp {
        check_copies(request, problems);
    }
    check_runner(survey, request, problems);
}

fn job_files(request: &InjectionRequest) -> impl Iterator<Item = &FileRequest> {
    let files = request.files.iter();
    files.filter(|file| file.is_for_job())
}

/// Requests that no pod without job hooks may have.
fn check_without(
    survey: &Survey<'_>,
    request: &InjectionRequest,
    operators_policy: Option<&JobPolicy>,
    problems: &mut Problems,
) {
    let why = match request.job_hooks {
        Requested::Given(_) => format!("needs job hooks, but {JOB_HOOKS} turns them off: remove one of the two"),
        Requested::Absent | Requested::Invalid => {
            "needs job hooks, but this pod has none, because it is not a runner pod: remove the annotation".to_owned()
        }
    };
    let asked = [
        (JOB_ENV, !request.job_env.is_empty()),
        (JOB_POLICY, request.job_policy.is_some()),
        (
            ENV_DELIVERY,
            request.env_delivery == Requested::Given(EnvDelivery::Hooks),
        ),
        (MASK, request.mask.is_some()),
        (ON_FAILURE, request.on_failure == Some(OnFailure::FailJob)),
        (
            EXPORT,
            request.export == Requested::Given(true) && request.env.is_empty(),
        ),
        (JOB_TEMP, request.job_temp),
    ];
    for (key, _) in asked.into_iter().filter(|(_, is_asked)| *is_asked) {
        problems.push(key, &*why);
    }
    for file in job_files(request) {
        problems.push(file.place_of("as"), &*why);
    }
    let asks_kubelet = request.env_delivery == Requested::Given(EnvDelivery::Kubelet);
    if !request.env.is_empty() && request.exports() && survey.pod.is_workflow() && !asks_kubelet {
        problems.push(
            ENV,
            format!(
                "does not reach the steps of a job in ARC's kubernetes mode here: put it on the runner's template, whose job hooks \
                 export variables to the steps, or add {EXPORT}: \"false\" to get files in {SECRETS_DIR}/{ENV_DIR}"
            ),
        );
    }
    if operators_policy.is_some() && (survey.pod.is_runner() || survey.pod.is_workflow()) {
        problems.push(
            CONNECTION,
            format!(
                "has a job policy of the operator's, which only job hooks enforce: use the connection in a runner pod, without \
                 {JOB_HOOKS}: \"false\""
            ),
        );
    }
}

/// Secrets that the job reads, on a connection that has no login for jobs.
fn check_job_secrets(connection: &ConnectionConfig, request: &InjectionRequest, problems: &mut Problems) {
    let why = format!(
        "needs a job identity, which the connection {} does not have: ask the operator for one (job.role)",
        quoted(&connection.server.name)
    );
    for file in job_files(request) {
        problems.push_for_operator(file.place_of("as"), &*why);
    }
    if !request.job_env.is_empty() {
        problems.push_for_operator(JOB_ENV, why);
    }
}

/// Variables that the hooks would export under a name of the runner's.
fn check_exported(request: &InjectionRequest, problems: &mut Problems) {
    let env = request.env.iter().map(|env| (ENV, &env.select));
    let job_env = request.job_env.iter().map(|env| (JOB_ENV, &env.select));
    for (key, select) in env.chain(job_env) {
        if let Select::Value { name, .. } = select
            && name.is_the_runners()
        {
            problems.push(
                key,
                format!(
                    "{} is a variable of the runner's own: choose another name",
                    quoted(name.as_str())
                ),
            );
        }
    }
}

/// Files that cannot have a copy for jobs in a container.
fn check_copies(request: &InjectionRequest, problems: &mut Problems) {
    let files = request.files.iter();
    for file in files
        .clone()
        .filter(|file| file.env.is_some() && job_copy(file).is_none())
    {
        problems.push(
            file.place_of("env"),
            format!("is a variable of the runner's own, which cannot name the copy of {JOB_TEMP}: choose another name"),
        );
    }
    for file in files.filter(|file| matches!(file.file, Destination::EachField(_))) {
        problems.push(
            file.place_of("file"),
            format!(
                "is one file for each field, which {JOB_TEMP} cannot copy: deliver each field by an entry of its own, with a key"
            ),
        );
    }
}

/// The runner must be able to clear the files.
fn check_runner(survey: &Survey<'_>, request: &InjectionRequest, problems: &mut Problems) {
    let Some(runner) = survey.job_hooks.runner() else {
        // A runner pod that names no readers has the runner as its reader, and `check::readers` reports that it is missing.
        if request.containers.is_some() || !survey.pod.is_runner() {
            problems.push(
                JOB_HOOKS,
                format!("needs a container named {RUNNER:?}, which the pod does not have: write \"false\""),
            );
        }
        return;
    };
    if !survey.readers.contain(runner) {
        // A reader that is missing may be a misspelt runner. Without any reader the annotation did not parse.
        if survey.readers.missing == MissingReaders::NONE && !survey.readers.found.is_empty() {
            problems.push(
                CONTAINERS,
                format!(
                    "leaves out {RUNNER:?}, whose job hooks mask and clear the files: add it, or write {JOB_HOOKS}: \"false\""
                ),
            );
        }
    } else if survey.reader_user.for_job_hooks().is_none() {
        problems.push(
            JOB_HOOKS,
            "cannot clear the files: let only containers with one declared runAsUser get them, and no root without its \
             capabilities, or write \"false\"",
        );
    }
}
