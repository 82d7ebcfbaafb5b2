//! Whether the variables of `podkey.dev/env` can reach the containers as `podkey.dev/env-delivery` asks, and what the kubelet needs
//! where it sets them.

use crate::inject::check::exec;
use crate::inject::config::Config;
use crate::inject::kubernetes::KubernetesVersion;
use crate::inject::parts::additions::kubelet_variables;
use crate::inject::pod::Variables;
use crate::inject::problem::Problems;
use crate::inject::request::rules::{self, Authored};
use crate::inject::request::{EnvDelivery, InjectionRequest};
use crate::inject::survey::Survey;
use crate::inject::survey::readers::Reader;
use crate::inject::words::keys::{ENV, ENV_DELIVERY, EXPORT, JOB_HOOKS};
use crate::plan::rules::kubelet_env;

/// Reports what cannot be done.
pub(super) fn check(survey: &Survey<'_>, request: &InjectionRequest, config: &Config, problems: &mut Problems) {
    if let Some(delivery) = request.env_delivery.given().filter(|word| *word != EnvDelivery::Auto) {
        check_word(delivery, survey, request, problems);
    }
    if survey.kubelet_sets_variables() {
        check_version(config, problems);
        let violations = kubelet_env(request.env.iter().map(|env| &env.select));
        rules::report(violations, Authored::default(), problems);
    }
}

/// Checks a word that leaves podkey no choice.
fn check_word(delivery: EnvDelivery, survey: &Survey<'_>, request: &InjectionRequest, problems: &mut Problems) {
    if !request.has_variables() {
        problems.push(
            ENV_DELIVERY,
            format!("needs {ENV}, which the pod does not have: add {ENV}, or remove {ENV_DELIVERY}"),
        );
    } else if !request.exports() {
        problems.push(
            ENV_DELIVERY,
            format!("is \"{delivery}\", but {EXPORT}: \"false\" leaves the values in files: remove one of the two"),
        );
    }
    if delivery == EnvDelivery::Hooks {
        // `check::hooks` reports a pod without job hooks.
        return;
    }
    if survey.job_hooks.are_on() && !request.job_hooks.is_invalid() {
        problems.push(
            ENV_DELIVERY,
            format!(
                "cannot be \"{delivery}\" in a pod with job hooks, which export the variables to the steps of a job: remove it, or \
                 add {JOB_HOOKS}: \"false\""
            ),
        );
    }
}

/// An older kubelet sets empty variables without a word. ([`warnings`] has the case of a version that is not known.)
fn check_version(config: &Config, problems: &mut Problems) {
    let needed = KubernetesVersion::FILE_KEY_REF;
    if let Some(version) = config.older_than(needed) {
        problems.push_for_operator(
            ENV_DELIVERY,
            format!(
                "is \"kubelet\", which needs Kubernetes {needed} or later on the API server and every node, and this cluster has \
                 {version}: write \"exec\", and the container's `command`"
            ),
        );
    }
}

/// The warnings where the kubelet sets variables: nodes that may be too old, and a job whose steps inherit the variables, because only
/// job hooks mask.
pub(super) fn warnings(survey: &Survey<'_>, config: &Config) -> impl Iterator<Item = String> + use<> {
    let by_kubelet = survey.kubelet_sets_variables();
    let needed = KubernetesVersion::FILE_KEY_REF;
    let unknown = by_kubelet && config.kubernetes_version.is_none();
    let unknown = unknown.then(|| {
        format!("podkey: a node older than Kubernetes {needed} sets empty variables; podkey does not know this cluster's nodes")
    });
    let unmasked = (by_kubelet && survey.pod.is_workflow()).then(|| {
        "podkey: the job's log does not hide variables that the kubelet sets; the runner's job hooks do".to_owned()
    });
    unknown.into_iter().chain(unmasked)
}

/// Reports variables that the reader sets itself. `variables` are those that podkey's are compared with.
pub(super) fn check_names(
    survey: &Survey<'_>,
    reader: Reader<'_>,
    variables: &Variables<'_>,
    request: &InjectionRequest,
    problems: &mut Problems,
) {
    for variable in kubelet_variables(survey, request, reader.container) {
        if !variable.is_in(variables) {
            exec::check_own_variable(reader.container, variable.name, variables, problems);
        }
    }
}
