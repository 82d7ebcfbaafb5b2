//! Whether the files of this pod can be refreshed as `podkey.dev/refresh` and `podkey.dev/on-change` ask.

use crate::inject::config::{CONFIG, Config, ConnectionConfig};
use crate::inject::kubernetes::KubernetesVersion;
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::files::FileRequest;
use crate::inject::request::rules::{self, Authored};
use crate::inject::request::{InjectionRequest, Requested};
use crate::inject::survey::Survey;
use crate::inject::survey::readers::ReaderUser;
use crate::inject::words::keys::{ON_CHANGE, REFRESH};
use crate::plan::OnChange;
use crate::plan::rules::{RefreshShape, refresh};

/// Reports what cannot be done.
pub(super) fn check(
    survey: &Survey<'_>,
    config: &Config,
    connection: Option<&ConnectionConfig>,
    request: &InjectionRequest,
    problems: &mut Problems,
) {
    let is_on = match request.refresh {
        Requested::Invalid => return,
        Requested::Absent => false,
        Requested::Given(_) => true,
    };
    let policy = connection.and_then(|connection| connection.job.policy.as_ref());
    let violations = refresh(RefreshShape {
        is_on,
        init_delivers: !request.only_job_reads() || request.files_are_incomplete,
        has_job_policy: request.job_policy.is_some() || policy.is_some() && survey.job_hooks.are_on(),
        has_hooks: survey.job_hooks.are_on(),
        exports: request.exports(),
        has_job_env: !request.job_env.is_empty(),
        files: request.files.iter().map(FileRequest::shape),
        token_file: request.token_file.as_ref(),
        on_change: &request.on_change,
    });
    let authored = Authored {
        files: &request.files,
        on_change: &request.on_change,
    };
    rules::report(violations, authored, problems);
    if is_on {
        check_version(config, request, problems);
        let signals = request.on_change.iter();
        for signal in signals.filter(|action| matches!(action, OnChange::Signal(..))) {
            check_signal(survey, config, request, signal, problems);
        }
        if request.restarts() {
            check_restart(survey, config, problems);
        }
    }
}

/// A kubelet that cannot restart all containers would restart podkey-sidecar alone, and the variables would stay as they are.
fn check_restart(survey: &Survey<'_>, config: &Config, problems: &mut Problems) {
    let action = quoted(&OnChange::Restart.to_string());
    if !config.restarts_all_containers() {
        let key = CONFIG.restart_all_containers.key;
        let older = config.older_than(KubernetesVersion::RESTART_ALL_CONTAINERS);
        let why = match (older, config.restart_all_containers) {
            (Some(version), _) => format!("this cluster has {version}: ask the operator to upgrade it"),
            (None, Some(_)) => format!(
                "not every node of this cluster can: ask the operator to upgrade the nodes, or to write {key}: true"
            ),
            (None, None) => format!(
                "podkey does not know whether the nodes of this cluster can: ask the operator to write {key}: true, if they can"
            ),
        };
        problems.push_for_operator(
            ON_CHANGE,
            format!(
                "{action} needs kubelets that restart all containers of a pod in place (Kubernetes 1.36), and {why}"
            ),
        );
    }
    let mut ending = survey.pod.spec.containers.iter().filter(|container| {
        let policy = container.restart_policy().or(survey.pod.spec.restart_policy.as_deref());
        !matches!(policy, None | Some("Always"))
    });
    if let Some(container) = ending.next() {
        problems.push(
            ON_CHANGE,
            format!(
                "{action} would run the container {} again after its end: write restartPolicy: Always, or remove {action}",
                quoted(&container.name)
            ),
        );
    }
}

/// Older versions of Kubernetes have no sidecars. A version that is not known is taken as new enough.
fn check_version(config: &Config, request: &InjectionRequest, problems: &mut Problems) {
    let needed = KubernetesVersion::NATIVE_SIDECARS;
    let Some(version) = config.older_than(needed) else {
        return;
    };
    let (what, instead) = match request.vault_k8s {
        None => ("needs", "never"),
        Some(_) => ("is not \"true\", which needs", "true"),
    };
    problems.push_for_operator(
        REFRESH,
        format!(
            "{what} Kubernetes {needed} or later, which keeps podkey-sidecar running beside the containers, and this cluster has {version}: \
             write \"{instead}\""
        ),
    );
}

/// A signal reaches only a process that the sidecar sees and that runs as the sidecar's user.
fn check_signal(
    survey: &Survey<'_>,
    config: &Config,
    request: &InjectionRequest,
    action: &OnChange,
    problems: &mut Problems,
) {
    let pod = survey.pod;
    let theirs = request.vault_k8s.as_ref();
    let shares_processes =
        pod.spec.share_process_namespace == Some(true) || theirs.is_some_and(|theirs| theirs.shares_processes);
    let why = if pod.spec.host_pid == Some(true) {
        "would reach processes of the node, because of spec.hostPID: set spec.shareProcessNamespace: true instead, or \
         use touch: or http:"
    } else if !shares_processes {
        &format!(
            "needs spec.shareProcessNamespace: true, and the operator's {}: without them podkey-sidecar sees no other container's \
             processes. Or use touch: or http:",
            CONFIG.allow_shared_process_namespace.key
        )
    } else if match survey.reader_user {
        ReaderUser::One(_) => false,
        ReaderUser::Root { .. } => true,
        // On OpenShift all containers that declare no user get the same user.
        ReaderUser::Unknown => config.agent.run_as_user.is_some(),
    } {
        "needs podkey-sidecar to be the process's user: let the containers that get the files declare one runAsUser, not 0. \
         Or use touch: or http:"
    } else {
        // Whether the operator allows the shared namespace is checked with the namespace.
        return;
    };
    problems.push(ON_CHANGE, format!("{} {why}", quoted(&action.to_string())));
}
