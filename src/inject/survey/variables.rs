//! How the variables of `podkey.dev/env` get into the containers of a pod without job hooks, container by container.

use crate::inject::kubernetes::KubernetesVersion;
use crate::inject::pod::{Container, Pod};
use crate::inject::request::{EnvDelivery, InjectionRequest};
use crate::inject::words::names::{ENV_VOLUME, INIT_CONTAINER};

/// What sets the variables in one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VariableSetter {
    /// The agent, in front of the container's command.
    Agent,
    /// The kubelet, when the container starts.
    Kubelet,
}

/// The choice for the containers of a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VariableSetters {
    /// None: podkey chooses for each container.
    asked: Option<VariableSetter>,
    /// Whether the cluster is known to set variables from files ([`KubernetesVersion::FILE_KEY_REF`]). A kubelet that does not know
    /// `fileKeyRef` sets an empty variable without a word, so podkey never guesses.
    kubelets_read_files: bool,
    /// Whether podkey has been here before.
    has_podkey_init: bool,
}

impl VariableSetters {
    /// None: podkey sets no variable in a container. The job hooks export the variables, or the values stay in files.
    pub(super) fn of(
        pod: &Pod<'_>,
        request: &InjectionRequest,
        job_hooks_are_on: bool,
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
        Some(Self {
            asked,
            kubelets_read_files: version.is_some_and(|version| version >= KubernetesVersion::FILE_KEY_REF),
            has_podkey_init: pod
                .init_containers()
                .iter()
                .any(|container| container.name == INIT_CONTAINER),
        })
    }

    /// What sets the variables in this container.
    pub(crate) fn in_container(self, container: &Container<'_>) -> VariableSetter {
        if let Some(asked) = self.asked {
            return asked;
        }
        // Another webhook may have added a command since podkey chose the kubelet.
        let is_of_kubelet = || !container.variables(|var| var.is_of_volume(ENV_VOLUME)).is_empty();
        let was_chosen = self.has_podkey_init && is_of_kubelet();
        match was_chosen || self.kubelets_read_files && container.command().is_empty() {
            true => VariableSetter::Kubelet,
            // Where the command is missing, `check::exec` says so.
            false => VariableSetter::Agent,
        }
    }
}
