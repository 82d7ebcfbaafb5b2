//! Warnings of what probably does not work although nothing is wrong with it: files that their reader cannot read, or that no
//! step of a job sees. Only the image and the server know for sure, so the pod is not refused.

use crate::inject::check::hooks;
use crate::inject::pod::Pod;
use crate::inject::pod::readers::{Reader, ReaderUser};
use crate::inject::request::InjectionRequest;
use crate::inject::request::files::FileRequest;
use crate::plan::{Value, spelling};

/// One line for each kind. `owner` is the user of podkey's containers; none: the cluster picks one for all.
pub(crate) fn warnings(
    pod: &Pod<'_>,
    request: &InjectionRequest,
    readers: &[Reader<'_, '_>],
    user: ReaderUser,
    owner: Option<i64>,
) -> Vec<String> {
    let in_own_pods = hooks::are_on(pod, request) || pod.is_runner();
    let in_own_pods = in_own_pods.then(|| of_jobs_in_own_pods(request, readers));
    in_own_pods
        .flatten()
        .into_iter()
        .chain(of_unreadable_files(pod, request, user, owner))
        .chain(of_literal_data(request))
        .collect()
}

/// In ARC's kubernetes mode steps run in pods that the runner makes, which have none of the runner's mounts.
/// <https://github.com/actions/runner-container-hooks>
fn of_jobs_in_own_pods(request: &InjectionRequest, readers: &[Reader<'_, '_>]) -> Option<String> {
    const HOOKS: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS";
    const REQUIRED: &str = "ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER";
    // Variables reach the steps: the runner passes them on.
    if request.files.is_empty() && request.exports() {
        return None;
    }
    let container = readers.iter().find_map(|reader| {
        let env = reader
            .container
            .variables(|var| [HOOKS, REQUIRED].contains(&&*var.name));
        env.get(HOOKS)?;
        Some(env.get(REQUIRED).and_then(|var| var.value.as_deref()) == Some("true"))
    });
    let which = match container? {
        true => "steps",
        false => "container jobs",
    };
    Some(format!(
        "podkey: {which} run in other pods, without the files: annotate ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE's pod"
    ))
}

/// A file is its owner's, and of the pod's group where the pod has one: the reader must be one of them, or the mode must let
/// everybody read.
fn of_unreadable_files(
    pod: &Pod<'_>,
    request: &InjectionRequest,
    user: ReaderUser,
    owner: Option<i64>,
) -> Option<String> {
    let context = pod.spec.security_context.as_ref();
    let has_group = context.is_some_and(|context| context.fs_group.is_some() || context.run_as_group.is_some());
    let bits = match user {
        ReaderUser::Root { reads_all: true } => return None,
        // The kernel looks at the first class that fits, and no further.
        ReaderUser::One(_) => 0o400,
        // Where the operator sets none, the cluster picks one for all containers of the pod.
        ReaderUser::Unknown if owner.is_none() => 0o400,
        ReaderUser::Root { reads_all: false } | ReaderUser::Unknown if has_group => 0o044,
        ReaderUser::Root { reads_all: false } | ReaderUser::Unknown => 0o004,
    };
    // The job's own files are the runner's.
    let by_init = |file: &&FileRequest| !file.is_for_job();
    let unreadable = |file: &&FileRequest| file.mode.is_some_and(|mode| mode.bits() & bits == 0);
    let file = request.files.iter().filter(by_init).find(unreadable)?;
    let mode = file.mode?;
    let mend = match user {
        ReaderUser::One(_) => "write no mode, or 0400",
        ReaderUser::Root { .. } | ReaderUser::Unknown => "set runAsUser, or write no mode",
    };
    let whose = match owner {
        Some(uid) => format!(" of user {uid}"),
        None => String::new(),
    };
    Some(format!(
        "podkey: the container may be unable to read files[{}]{whose}, mode {mode}: {mend}",
        file.index
    ))
}

/// What is written to an engine is written as it stands.
fn of_literal_data(request: &InjectionRequest) -> Option<String> {
    let is_literal = |text: &String| spelling::of_text(text).is_some();
    let file = request.files.iter().find(|file| {
        let values = file.data.iter().flat_map(|data| data.values());
        values.into_iter().any(|value| match value {
            Value::Text(text) => is_literal(text),
            Value::List(texts) => texts.iter().any(is_literal),
            Value::Map(texts) => texts.values().any(is_literal),
        })
    })?;
    Some(format!(
        "podkey: nothing replaces the variable in files[{}].data, the server gets it as it stands: write the value",
        file.index
    ))
}
