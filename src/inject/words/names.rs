//! The names of the containers and volumes that podkey adds to a pod, which a pod's author must leave to podkey; and the names by
//! which the API server quotes podkey's webhooks and guard.

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

/// The end of the names of podkey's webhooks: `manifests/chart/templates/webhook.yaml`.
#[cfg(feature = "cli")]
pub(crate) const WEBHOOK_SUFFIX: &str = ".podkey.dev";
/// The beginning of what podkey's guard says, a policy that refuses pods that the webhook missed: `manifests/chart/templates/guard.yaml`.
#[cfg(feature = "cli")]
pub(crate) const GUARD_SAYS: &str = "podkey: the pod's annotations ask for secrets";

/// Whether a container of this name is podkey's.
pub(crate) fn is_own(container: &str) -> bool {
    CONTAINERS.contains(&container)
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn the_chart_has_the_names_by_which_a_refusal_is_known() {
        let guard = include_str!("../../../manifests/chart/templates/guard.yaml");
        let webhook = include_str!("../../../manifests/chart/templates/webhook.yaml");
        assert!(guard.contains(GUARD_SAYS));
        for name in ["pods", "vault-k8s"] {
            assert!(
                webhook.contains(&format!("\"name\" \"{name}{WEBHOOK_SUFFIX}\"")),
                "{name}"
            );
        }
    }
}
