//! The annotations `podkey.dev/refresh` and `podkey.dev/on-change`, and every reason why what they ask for cannot be.

use crate::inject::config::Config;
use crate::inject::kubernetes::KubernetesVersion;
use crate::inject::pod::Pod;
use crate::inject::pod::readers::ReaderUser;
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::files::FileRequest;
use crate::inject::request::keys::{EXPORT, ON_CHANGE, REFRESH};
use crate::inject::request::{InjectionRequest, Requested};
use crate::plan::{Destination, OnChange, SECRETS_DIR, WhenGone};

/// What is asked for and cannot be done.
pub(crate) fn check(
    pod: &Pod<'_>,
    config: &Config,
    request: &InjectionRequest,
    user: ReaderUser,
    problems: &mut Problems,
) {
    match request.refresh {
        Requested::Invalid => return,
        Requested::Absent => return check_without(request, problems),
        Requested::Given(_) => {}
    }
    if let Some(version) = config
        .kubernetes_version
        .filter(|version| *version < KubernetesVersion::NATIVE_SIDECARS)
    {
        problems.push_for_operator(
            REFRESH,
            format!(
                "needs Kubernetes {} or later, which keeps podkey-sidecar running beside the containers, and this is {version}: \
                 write \"never\"",
                KubernetesVersion::NATIVE_SIDECARS
            ),
        );
    }
    if request.only_job_reads() && !request.files_are_incomplete {
        problems.push(
            REFRESH,
            "has nothing to keep fresh, because the job reads all of it, once: write \"never\"",
        );
    }
    if !request.exports() && !request.job_env.is_empty() {
        problems.push(
            EXPORT,
            "cannot be \"false\" for podkey.dev/job-env with podkey.dev/refresh, which lets nobody but podkey-sidecar write files: \
             remove it, or write \"never\" there",
        );
    }
    for file in &request.files {
        check_file(file, problems);
    }
    for action in &request.on_change {
        match action {
            OnChange::Signal(..) => check_signal(pod, config, action, user, problems),
            OnChange::Touch(_) => check_touched(request, action, problems),
            OnChange::Post(_) => {}
        }
    }
}

/// What no pod may ask for whose files are written once.
fn check_without(request: &InjectionRequest, problems: &mut Problems) {
    const NEEDS: &str = "needs podkey.dev/refresh, such as \"30s\", because without it the files never change";
    if !request.on_change.is_empty() {
        problems.push(ON_CHANGE, format!("{NEEDS}: add it, or remove this"));
    }
    for file in &request.files {
        if file.when_gone != WhenGone::Keep {
            problems.push(
                format!("{}.when-gone", file.place()),
                format!("{NEEDS}: add it, or remove this"),
            );
        }
    }
}

fn check_file(file: &FileRequest, problems: &mut Problems) {
    if file.is_for_job() {
        problems.push(
            format!("{}.as", file.place()),
            "cannot be \"job\" with podkey.dev/refresh, which lets nobody but podkey-sidecar write: use podkey.dev/job-env, \
             or write \"never\" there",
        );
    }
    let name = quoted(&file.file.to_string());
    if let Destination::Absolute(path) = &file.file {
        let alternative = path.rsplit('/').next().unwrap_or_default();
        problems.push(
            format!("{}.file", file.place()),
            format!(
                "{name} is mounted on its own, which podkey.dev/refresh cannot replace: write {}, which the containers see at \
                 {}, and let `env` name it to the program",
                quoted(alternative),
                quoted(&format!("{SECRETS_DIR}/{alternative}")),
            ),
        );
    }
    if file.file.is_reserved() {
        problems.push(
            format!("{}.file", file.place()),
            format!(
                "{name} is where podkey keeps the files' versions and .status.json with podkey.dev/refresh: choose another name"
            ),
        );
    }
}

/// A signal reaches only a process that the sidecar sees and that has its user.
fn check_signal(pod: &Pod<'_>, config: &Config, action: &OnChange, user: ReaderUser, problems: &mut Problems) {
    let why = if pod.spec.host_pid == Some(true) {
        "would reach processes of the node's own, because of spec.hostPID: set spec.shareProcessNamespace: true instead, or \
         use touch: or http:"
    } else if pod.spec.share_process_namespace != Some(true) {
        "needs spec.shareProcessNamespace: true, and the operator's allowSharedProcessNamespace: without them podkey-sidecar \
         sees no other container's processes. Or use touch: or http:"
    } else if match user {
        ReaderUser::One(_) => false,
        ReaderUser::Root { .. } => true,
        // On OpenShift all containers that declare none get the same one.
        ReaderUser::Unknown => config.agent.run_as_user.is_some(),
    } {
        "needs podkey-sidecar to be the process's user: let the containers that get the files declare one runAsUser, not 0. \
         Or use touch: or http:"
    } else {
        // That the operator must allow the shared namespace is told of the namespace.
        return;
    };
    problems.push(ON_CHANGE, format!("{} {why}", quoted(&action.to_string())));
}

/// What podkey replaces as a whole would take the touched file with it.
fn check_touched(request: &InjectionRequest, action: &OnChange, problems: &mut Problems) {
    if action.replaced(request.files.iter().map(|file| &file.file)).is_some() {
        problems.push(
            ON_CHANGE,
            format!(
                "{} is where podkey replaces files: touch a name, or something in a directory, of its own",
                quoted(&action.to_string())
            ),
        );
    }
}
