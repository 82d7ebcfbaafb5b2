//! Fields of the pod's spec with which a pod gets no secrets.

use crate::inject::config::Config;
use crate::inject::pod::Pod;
use crate::inject::problem::Problems;
use crate::inject::survey::Survey;

pub(super) fn check(pod: &Pod<'_>, config: &Config, problems: &mut Problems) {
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

/// podkey's containers never run as root. If nobody sets their user, the pod must not set root.
pub(super) fn check_user(survey: &Survey<'_>, problems: &mut Problems) {
    if survey.run_as_user.is_none() && survey.pod.run_as_user() == Some(0) {
        problems.push(
            "spec.securityContext.runAsUser",
            "is 0, but podkey's containers do not run as root, and the operator's config sets no user for them: set runAsUser on \
             the containers instead",
        );
    }
}
