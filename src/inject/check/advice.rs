//! Warnings of what probably does not work, although the request has no problem: files that the reader cannot read, or that no step
//! of a job sees. Only the image and the server know for sure, so podkey does not refuse the pod.

use crate::inject::check::{env_delivery, token_file};
use crate::inject::config::Config;
use crate::inject::pod::Variables;
use crate::inject::pod::runner::{CONTAINER_HOOK_TEMPLATE, CONTAINER_HOOKS, REQUIRE_JOB_CONTAINER};
use crate::inject::problem::Warnings;
use crate::inject::request::InjectionRequest;
use crate::inject::request::files::FileRequest;
use crate::inject::survey::Survey;
use crate::inject::survey::readers::ReaderUser;
use crate::inject::words::keys::JOB_HOOKS;
use crate::plan::{Data, Value, spelling};

/// One line for each kind of advice.
pub(super) fn advice(survey: &Survey<'_>, request: &InjectionRequest, config: &Config) -> Warnings {
    token_file::warning(survey, request)
        .into_iter()
        .chain(jobs_in_other_pods(survey, request))
        .chain(unmapped_user(survey))
        .chain(env_delivery::warnings(survey, config))
        .chain(unreadable_file(survey, request))
        .chain(literal_data(request))
        .chain(
            request
                .vault_k8s
                .iter()
                .flat_map(|theirs| theirs.warnings.iter().cloned()),
        )
        .collect()
}

/// In ARC's kubernetes mode, steps run in pods that the runner makes. These pods have none of the runner's mounts, and only those
/// variables that the runner's job hooks export. <https://github.com/actions/runner-container-hooks>
fn jobs_in_other_pods(survey: &Survey<'_>, request: &InjectionRequest) -> Option<String> {
    let mut readers = survey.readers.found.iter();
    let env = readers.find_map(|reader| {
        let names = [CONTAINER_HOOKS, REQUIRE_JOB_CONTAINER, CONTAINER_HOOK_TEMPLATE];
        let env = reader.container.variables(|var| names.contains(&&*var.name));
        is_set(&env, CONTAINER_HOOKS).then_some(env)
    })?;
    let lacks_files = !request.files.is_empty() && !request.job_temp || request.has_variables() && !request.exports();
    // The template's pod may have annotations of its own: an author who names the runner's container wants files there, too.
    let is_meant = is_set(&env, CONTAINER_HOOK_TEMPLATE) && request.containers.is_some();
    let lacks_variables = request.has_variables() && request.exports() && !survey.job_hooks.are_on();
    let (lacking, remedy) = match (lacks_files && !is_meant, lacks_variables) {
        (true, _) => ("files", format!("annotate {CONTAINER_HOOK_TEMPLATE}'s pod")),
        (false, true) => ("variables", format!("write {JOB_HOOKS}: \"true\"")),
        (false, false) => return None,
    };
    let which = match env.get(REQUIRE_JOB_CONTAINER) {
        Some(required) if required.is_exactly("true") => "steps",
        _ => "container jobs",
    };
    Some(format!(
        "podkey: {which} run in other pods, without the {lacking}: {remedy}"
    ))
}

/// Whether the runner gets a value. To the runner, an empty variable is none.
fn is_set(variables: &Variables<'_>, name: &str) -> bool {
    variables.get(name).is_some_and(|var| !var.is_exactly(""))
}

/// The kubelet maps this many users into a pod of its own users, unless its `userNamespaces.idsPerPod` says more.
/// <https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/>
const MAPPED_USERS: i64 = 65536;

/// A container of a user that is not mapped does not start.
fn unmapped_user(survey: &Survey<'_>) -> Option<String> {
    let user = survey.run_as_user.filter(|user| *user >= MAPPED_USERS)?;
    (survey.pod.spec.host_users == Some(false)).then(|| {
        format!("podkey: hostUsers: false may not map the user {user} of podkey-init: declare a runAsUser below {MAPPED_USERS}")
    })
}

/// A file belongs to the user of podkey's containers, and to the pod's group if the pod has one. The reader must be that user or in
/// that group, or the mode must let everybody read.
fn unreadable_file(survey: &Survey<'_>, request: &InjectionRequest) -> Option<String> {
    let has_group = survey.pod.fs_group().is_some() || survey.pod.run_as_group().is_some();
    let bits = match survey.reader_user {
        ReaderUser::Root { reads_all: true } => return None,
        // The kernel looks at the first class that matches, and at no other class.
        ReaderUser::One(uid) if survey.run_as_user == Some(uid) => 0o400,
        ReaderUser::One(_) if has_group => 0o044,
        ReaderUser::One(_) => 0o004,
        // The operator sets no user, so the cluster chooses one user for all containers of the pod.
        ReaderUser::Unknown if survey.run_as_user.is_none() => 0o400,
        ReaderUser::Root { reads_all: false } | ReaderUser::Unknown if has_group => 0o044,
        ReaderUser::Root { reads_all: false } | ReaderUser::Unknown => 0o004,
    };
    // The files of the job belong to the runner's user.
    let by_init = |file: &&FileRequest| !file.is_for_job();
    let unreadable = |file: &&FileRequest| file.mode.is_some_and(|mode| mode.bits() & bits == 0);
    let file = request.files.iter().filter(by_init).find(unreadable)?;
    let mode = file.mode?;
    let remedy = match survey.reader_user {
        ReaderUser::One(uid) if survey.run_as_user == Some(uid) => "write no mode, or 0400",
        ReaderUser::One(_) => "give both one user, or a wider mode",
        ReaderUser::Root { .. } | ReaderUser::Unknown => "set runAsUser, or write no mode",
    };
    let owner = match survey.run_as_user {
        Some(uid) => format!(" of user {uid}"),
        None => String::new(),
    };
    Some(format!(
        "podkey: the container may be unable to read {}{owner}, mode {mode}: {remedy}",
        file.short()
    ))
}

/// Nothing replaces variables in the data that podkey writes to an engine.
fn literal_data(request: &InjectionRequest) -> Option<String> {
    let is_literal = |text: &str| spelling::of_text(text).is_some();
    let file = request.files.iter().find(|file| {
        let mut values = file
            .requests()
            .filter_map(|request| request.data)
            .flat_map(Data::values);
        values.any(|value| match value {
            Value::Text(text) => is_literal(text),
            Value::List(texts) => texts.iter().any(|text| is_literal(text)),
            Value::Map(texts) => texts.values().any(|text| is_literal(text)),
        })
    })?;
    Some(format!(
        "podkey: nothing replaces the variable in {}, the server gets it as it stands: write the value",
        match file.key {
            None => format!("{}.{}", file.short(), file.field("data")),
            Some(_) => file.short(),
        }
    ))
}
