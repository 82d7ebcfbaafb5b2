//! How the variables of `podkey.dev/env` get into the containers of a pod without job hooks, container by container.

use crate::inject::kubernetes::KubernetesVersion;
use crate::inject::pod::{Container, Pod};
use crate::inject::request::{EnvDelivery, InjectionRequest};
use crate::inject::survey::PresentInit;
use crate::inject::words::names::ENV_VOLUME;
use crate::plan::Plan;

/// What sets the variables in one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VariableSetter {
    /// The agent, in front of the container's command.
    Agent,
    /// The kubelet, when the container starts.
    Kubelet,
}

/// What sets the variables in each of the author's containers, found once: a command or an `env` may be long.
#[derive(Debug)]
pub(crate) struct VariableSetters<'s>(Vec<(&'s Container<'s>, VariableSetter)>);

impl<'s> VariableSetters<'s> {
    /// None: podkey sets no variable in a container. The job hooks export the variables, or the values stay in files.
    pub(super) fn of(
        pod: &'s Pod<'s>,
        request: &InjectionRequest,
        job_hooks_are_on: bool,
        podkey_init: Option<PresentInit<'_>>,
        version: Option<KubernetesVersion>,
    ) -> Option<Self> {
        // Without these values nobody knows what the author wants.
        let is_unclear =
            request.job_hooks.is_invalid() || request.export.is_invalid() || request.env_delivery.is_invalid();
        if job_hooks_are_on || request.env.is_empty() || !request.exports() || is_unclear {
            return None;
        }
        let asked = match request.env_delivery.given().unwrap_or_default() {
            EnvDelivery::Hooks => return None,
            EnvDelivery::Kubelet => Some(VariableSetter::Kubelet),
            // The steps of a workflow pod are not children of the container's command, and their log masks nothing.
            EnvDelivery::Auto | EnvDelivery::Exec if pod.is_workflow() => return None,
            EnvDelivery::Exec => Some(VariableSetter::Agent),
            EnvDelivery::Auto => None,
        };
        let choice = Choice {
            kubelets_read_files: version.is_some_and(|version| version >= KubernetesVersion::FILE_KEY_REF),
            has_podkey_init: podkey_init.is_some(),
            of_first_visit: podkey_init
                .filter(|_| asked.is_none())
                .and_then(|init| Plan::parse(&init.plan_text()?).ok())
                .and_then(|plan| only_setter(&plan)),
        };
        let setter = |container: &Container<'_>| asked.unwrap_or_else(|| choice.for_container(container));
        let containers = pod.authors_containers();
        Some(Self(
            containers.map(|container| (container, setter(container))).collect(),
        ))
    }

    /// What sets the variables in this container.
    pub(super) fn in_container(&self, container: &Container<'_>) -> Option<VariableSetter> {
        let mut all = self.0.iter();
        let (_, setter) = all.find(|(known, _)| std::ptr::eq(*known, container))?;
        Some(*setter)
    }
}

/// What podkey chooses by, where the author leaves the choice to podkey.
struct Choice {
    /// Whether the cluster is known to set variables from files ([`KubernetesVersion::FILE_KEY_REF`]). A kubelet that does not know
    /// `fileKeyRef` sets an empty variable without a word, so podkey never guesses.
    kubelets_read_files: bool,
    /// Whether podkey has been here before.
    has_podkey_init: bool,
    /// What sets all variables by the plan of podkey's first visit. The plan stays as it is where another webhook has added a
    /// container since then. None: there was no visit, or the containers differ.
    of_first_visit: Option<VariableSetter>,
}

impl Choice {
    fn for_container(&self, container: &Container<'_>) -> VariableSetter {
        // Another webhook may have added a command since podkey chose the kubelet.
        let is_of_kubelet = || !container.variables(|var| var.is_of_volume(ENV_VOLUME)).is_empty();
        if self.has_podkey_init && is_of_kubelet() {
            return VariableSetter::Kubelet;
        }
        if let Some(setter) = self.of_first_visit {
            return setter;
        }
        match self.kubelets_read_files && container.command().is_empty() {
            true => VariableSetter::Kubelet,
            // Where the command is missing, `check::exec` says so.
            false => VariableSetter::Agent,
        }
    }
}

/// What sets the variables in all containers of a plan. None: the containers differ, or no container gets a variable.
fn only_setter(plan: &Plan) -> Option<VariableSetter> {
    match (plan.exec, plan.kubelet_env) {
        (true, false) => Some(VariableSetter::Agent),
        (false, true) => Some(VariableSetter::Kubelet),
        (true, true) | (false, false) => None,
    }
}
