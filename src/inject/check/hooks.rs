//! The runner's job hooks: whether a pod has them, what the `runner` container needs for them, what they are asked to do,
//! and every reason why that cannot work.
//! <https://docs.github.com/en/actions/how-tos/manage-runners/self-hosted-runners/run-scripts>

use crate::inject::config::ConnectionConfig;
use crate::inject::patch::parts::{Access, Delivery};
use crate::inject::pod::readers::{Reader, ReaderUser};
use crate::inject::pod::{Container, Pod, RUNNER, Variables};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::request::files::FileRequest;
use crate::inject::request::keys::{
    CONNECTION, CONTAINERS, ENV, EXPORT, JOB_ENV, JOB_HOOKS, JOB_POLICY, JOB_TEMP, MASK, ON_FAILURE,
};
use crate::plan::{
    Destination, EnvName, JOB_COMPLETED, JOB_STARTED, JobPlan, Mode, NEXT_JOB_COMPLETED_ENV, NEXT_JOB_STARTED_ENV,
    OnFailure, Select,
};

/// What names the runner's hooks to it: the one before a job, the one after.
pub(crate) const HOOK_VARIABLES: [&str; 2] = ["ACTIONS_RUNNER_HOOK_JOB_STARTED", "ACTIONS_RUNNER_HOOK_JOB_COMPLETED"];

/// Whether the pod's job hooks are to be on.
pub(crate) fn are_on(pod: &Pod<'_>, request: &InjectionRequest) -> bool {
    request.job_hooks.given().unwrap_or_else(|| pod.is_runner())
}

/// What fails where the secrets cannot be had.
pub(crate) fn on_failure(pod: &Pod<'_>, request: &InjectionRequest) -> OnFailure {
    let default = match are_on(pod, request) {
        true => OnFailure::FailJob,
        false => OnFailure::FailPod,
    };
    request.on_failure.unwrap_or(default)
}

/// The container whose job hooks are to be on.
pub(crate) fn runner<'p, 'a>(pod: &'p Pod<'a>, request: &InjectionRequest) -> Option<&'p Container<'a>> {
    let mut containers = pod.spec.containers.iter();
    containers.find(|container| container.name == RUNNER && are_on(pod, request))
}

/// What the `runner` may do with the files: the hooks empty them after the job. With `refresh` it is the sidecar that writes.
pub(crate) fn access(request: &InjectionRequest) -> Access {
    match request.delivery() {
        Delivery::Refreshed => Access::Read,
        Delivery::Once => Access::Write,
    }
}

/// Every reason why the hooks cannot do what they are asked to, or why something cannot be done without them. Gives the user
/// whom they run as, where they are on.
pub(crate) fn check(
    pod: &Pod<'_>,
    request: &InjectionRequest,
    connection: Option<&ConnectionConfig>,
    readers: &[Reader<'_, '_>],
    user: ReaderUser,
    problems: &mut Problems,
) -> Option<u32> {
    let policy = connection.and_then(|connection| connection.job.policy.as_ref());
    // Nothing can be said of what a value means that does not parse.
    if request.job_hooks.is_invalid() {
        return None;
    }
    if !are_on(pod, request) {
        check_without(pod, request, policy.is_some(), problems);
        return None;
    }
    if let Some(connection) = connection.filter(|connection| connection.job.login.is_none()) {
        let why = format!(
            "needs a job identity, which the connection {} does not have: ask the operator for one (job.role)",
            quoted(&connection.server.name)
        );
        for file in job_files(request) {
            problems.push_for_operator(format!("{}.as", file.place()), &*why);
        }
        if !request.job_env.is_empty() {
            problems.push_for_operator(JOB_ENV, why);
        }
    }
    if request.exports() {
        check_exported(request, problems);
    }
    if request.job_temp {
        for file in request
            .files
            .iter()
            .filter(|file| file.env.is_some() && copy(file).is_none())
        {
            problems.push(
                format!("{}.env", file.place()),
                "is a variable of the runner's own, which cannot name the copy of podkey.dev/job-temp: take another name",
            );
        }
        let each = |file: &&FileRequest| matches!(file.file, Destination::EachField(_));
        for file in request.files.iter().filter(each) {
            problems.push(
                format!("{}.file", file.place()),
                "is one file for each field, which podkey.dev/job-temp cannot copy: deliver each field by its own entry with a key",
            );
        }
    }
    check_runner(pod, request, readers, user, problems)
}

fn job_files(request: &InjectionRequest) -> impl Iterator<Item = &FileRequest> {
    let files = request.files.iter();
    files.filter(|file| file.is_for_job())
}

/// The variable that is to name the file's copy for jobs in a container, and the file.
fn copy(file: &FileRequest) -> Option<(EnvName, Destination)> {
    let name: EnvName = file.env.as_deref()?.parse().ok()?;
    (!name.is_the_runners()).then(|| (name, file.file.clone()))
}

/// What no pod may ask for that has no job hooks.
fn check_without(pod: &Pod<'_>, request: &InjectionRequest, policy: bool, problems: &mut Problems) {
    let why = match request.job_hooks.given() {
        Some(_) => "needs job hooks, which podkey.dev/job-hooks turns off: remove one of the two",
        None => "needs job hooks, which this pod does not have, because it is no runner pod: remove it",
    };
    let given = [
        (JOB_ENV, !request.job_env.is_empty()),
        (JOB_POLICY, request.job_policy.is_some()),
        (MASK, request.mask.is_some()),
        (ON_FAILURE, request.on_failure == Some(OnFailure::FailJob)),
        (EXPORT, request.export.given() == Some(true) && request.env.is_empty()),
        (JOB_TEMP, request.job_temp),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.push(key, why);
    }
    for file in job_files(request) {
        problems.push(format!("{}.as", file.place()), why);
    }
    if !request.env.is_empty() && request.exports() && pod.is_workflow() {
        problems.push(
            ENV,
            "does not reach the steps of a job in ARC's kubernetes mode here: put it on the runner's template, whose job \
             hooks export it to them, or add podkey.dev/export: \"false\" to get files in /podkey/secrets/env",
        );
    }
    if policy && (pod.is_runner() || pod.is_workflow()) {
        problems.push(
            CONNECTION,
            "has a job policy of the operator's, which only job hooks can hold to: use it in a runner pod, without \
             podkey.dev/job-hooks: \"false\"",
        );
    }
}

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
                    "{} is a variable of the runner's own: take another name",
                    quoted(name.as_str())
                ),
            );
        }
    }
}

fn check_runner(
    pod: &Pod<'_>,
    request: &InjectionRequest,
    readers: &[Reader<'_, '_>],
    user: ReaderUser,
    problems: &mut Problems,
) -> Option<u32> {
    let Some(runner) = runner(pod, request) else {
        // Where the readers were left to us, it is told already that a runner pod lacks it.
        if request.containers.is_some() || !pod.is_runner() {
            problems.push(
                JOB_HOOKS,
                "needs a container named \"runner\", which the pod does not have: write \"false\"",
            );
        }
        return None;
    };
    if !readers.iter().any(|reader| std::ptr::eq(reader.container, runner)) {
        if !problems.iter().any(|problem| problem.key == CONTAINERS) {
            problems.push(
                CONTAINERS,
                "leaves out \"runner\", whose job hooks mask and clear the files: add it, or write \
                 podkey.dev/job-hooks: \"false\"",
            );
        }
        return None;
    }
    let user = match user {
        ReaderUser::One(uid) => u32::try_from(uid).ok(),
        ReaderUser::Root { reads_all } => reads_all.then_some(0),
        ReaderUser::Unknown => None,
    };
    if user.is_none() {
        problems.push(
            JOB_HOOKS,
            "cannot clear the files: let only containers with one declared runAsUser get them, and none of root without \
             its capabilities, or write \"false\"",
        );
    }
    user
}

/// The hooks' part of the plan.
pub(crate) fn plan(
    user: u32,
    request: &InjectionRequest,
    connection: &ConnectionConfig,
    default_mode: Mode,
) -> JobPlan {
    let mut job = JobPlan {
        user,
        on_failure: request.on_failure.unwrap_or(OnFailure::FailJob),
        mask: request.mask.unwrap_or_default(),
        export: request.exports(),
        deadline: connection.job.deadline,
        login: None,
        files: request
            .files
            .iter()
            .filter_map(|file| file.for_job(default_mode))
            .collect(),
        env: request.job_env.clone(),
        policies: connection
            .job
            .policy
            .iter()
            .chain(&request.job_policy)
            .cloned()
            .collect(),
        temp: request
            .job_temp
            .then(|| request.files.iter().filter_map(copy).collect()),
    };
    if job.reads() {
        job.login.clone_from(&connection.job.login);
    }
    job
}

/// The variables that make the runner call the hooks, and that `container`, which has `present` already, still lacks. One that
/// the author set stays, and is passed on to our hook, which runs it: Kubernetes expands a reference from the entries before
/// it.
pub(crate) fn variables(
    container: &Container<'_>,
    present: &Variables<'_>,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    const HOOKS: [(&str, &str, (&str, &str)); 2] = [
        (
            HOOK_VARIABLES[0],
            JOB_STARTED,
            (NEXT_JOB_STARTED_ENV, "$(ACTIONS_RUNNER_HOOK_JOB_STARTED)"),
        ),
        (
            HOOK_VARIABLES[1],
            JOB_COMPLETED,
            (NEXT_JOB_COMPLETED_ENV, "$(ACTIONS_RUNNER_HOOK_JOB_COMPLETED)"),
        ),
    ];
    HOOKS.into_iter().flat_map(|(name, ours, next)| {
        let last = present.get(name);
        let called = last.is_some_and(|var| var.value_from.is_none() && var.value.as_deref() == Some(ours));
        // What is in a ConfigMap nobody can see from here. Where it has no hook, the reference stays as it is written.
        let passed_on = !called && (last.is_some() || container.has_env_from());
        [passed_on.then_some(next), (!called).then_some((name, ours))]
            .into_iter()
            .flatten()
    })
}
