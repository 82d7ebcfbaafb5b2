//! The names of the containers and volumes that podkey adds to a pod. A pod's author must leave these names to podkey.

pub(crate) const INIT_CONTAINER: &str = "podkey-init";
pub(crate) const SIDECAR: &str = "podkey-sidecar";
/// Every container of podkey's.
pub(crate) const CONTAINERS: [&str; 2] = [INIT_CONTAINER, SIDECAR];

/// The files.
pub(crate) const SECRETS_VOLUME: &str = "podkey-secrets";
/// The projected service-account token.
pub(crate) const TOKEN_VOLUME: &str = "podkey-token";
/// The agent, for job hooks and for commands.
pub(crate) const BIN_VOLUME: &str = "podkey-bin";
/// What `podkey-init` hands over to `podkey-sidecar`.
pub(crate) const HANDOVER_VOLUME: &str = "podkey-handover";
/// The values of variables that the kubelet puts into containers.
pub(crate) const ENV_VOLUME: &str = "podkey-env";
/// The plan of the job hooks, in a pod without `podkey-init`.
pub(crate) const PLAN_VOLUME: &str = "podkey-plan";
/// Every volume of podkey's, in the order in which a pod gets them.
pub(crate) const VOLUMES: [&str; 6] = [
    SECRETS_VOLUME,
    TOKEN_VOLUME,
    BIN_VOLUME,
    HANDOVER_VOLUME,
    ENV_VOLUME,
    PLAN_VOLUME,
];

/// Whether a container of this name is podkey's.
pub(crate) fn is_own(container: &str) -> bool {
    CONTAINERS.contains(&container)
}
