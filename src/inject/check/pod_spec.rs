//! Fields of the pod's spec with which a pod gets no secrets.

use crate::inject::config::Config;
use crate::inject::pod::Pod;
use crate::inject::problem::Problems;
use crate::inject::request::InjectionRequest;
use crate::inject::request::vault_k8s::asked::{RunAs, VaultK8sRequest};
use crate::inject::survey::Survey;

pub(super) fn check(pod: &Pod<'_>, request: &InjectionRequest, config: &Config, problems: &mut Problems) {
    if let Some(theirs) = request.vault_k8s.as_ref().filter(|theirs| theirs.shares_processes) {
        check_shared(pod, theirs, config, problems);
    }
    if let Some(place) = pod.asks_for_windows() {
        problems.push(
            place,
            "is windows, but podkey's containers run on Linux only: remove podkey's annotations",
        );
    }
    if !config.allow_shared_process_namespace {
        let why = "lets the pod's processes read podkey's processes: remove the field, or ask the operator for \
                   allowSharedProcessNamespace";
        if pod.spec.host_pid == Some(true) {
            problems.push_for_operator("spec.hostPID", why);
        }
        if pod.spec.share_process_namespace == Some(true) {
            problems.push_for_operator("spec.shareProcessNamespace", why);
        }
    }
}

/// Reports a pod whose annotation would let its containers see each other's processes.
fn check_shared(pod: &Pod<'_>, theirs: &VaultK8sRequest, config: &Config, problems: &mut Problems) {
    let key = theirs.family.key("agent-share-process-namespace");
    if pod.spec.share_process_namespace == Some(false) {
        problems.push(
            key,
            "is true, but spec.shareProcessNamespace is false: remove one of the two",
        );
    } else if !config.allow_shared_process_namespace && pod.spec.share_process_namespace.is_none() {
        problems.push_for_operator(
            key,
            "lets the pod's processes read podkey's processes: remove it, or ask the operator for allowSharedProcessNamespace",
        );
    }
}

/// podkey's containers never run as root. If nobody sets their user, the pod must not set root.
pub(super) fn check_user(survey: &Survey<'_>, request: &InjectionRequest, problems: &mut Problems) {
    let theirs = request.vault_k8s.as_ref();
    if let Some(theirs) = theirs.filter(|theirs| theirs.run_as == RunAs::FirstContainers)
        && survey.pod.first_user().is_none_or(|user| user <= 0)
    {
        problems.push(
            theirs.family.key("agent-run-as-same-user"),
            "needs a first container with a runAsUser of its own or of the pod's, not 0: set one, or remove the key",
        );
    }
    if !survey.hooks_alone && survey.run_as_user.is_none() && survey.pod.run_as_user() == Some(0) {
        problems.push(
            "spec.securityContext.runAsUser",
            "is 0, but podkey's containers do not run as root, and the operator's config sets no user for them: set runAsUser on \
             the containers instead",
        );
    }
}
