//! The warnings that go with an injected pod, the gravest first. At most five: nobody reads more.

use crate::inject::check::injected::InjectedState;
use crate::inject::config::ConnectionConfig;
use crate::inject::problem::Warnings;
use crate::inject::request::Freshness;
use crate::inject::survey::{AgentUse, Survey};
use crate::plan::OnFailure;

const MAX_WARNINGS: usize = 5;

pub(super) fn warnings(
    survey: &Survey<'_>,
    connection: &ConnectionConfig,
    state: InjectedState,
    advice: Warnings,
) -> Warnings {
    let pod = survey.pod;
    let conditions = [
        (
            connection.audience.is_none(),
            "podkey: the connection has no audience, so the job's own API token can log in to Vault as well",
        ),
        (
            pod.spec.host_network == Some(true),
            "podkey: the pod uses the host's network, where no NetworkPolicy limits who can reach Vault",
        ),
        (
            !survey.hooks_alone && opens_api_token(survey),
            "podkey: another user than the pod's runs podkey-init, so its API token becomes readable for all users",
        ),
        // The sidecar alone may write, so the hooks cannot remove the files.
        (
            survey.agent_use == AgentUse::JobHooks && survey.freshness == Freshness::Refreshed,
            "podkey: with refresh, steps with always() can read the files of a job that the hooks refuse, such as a fork's",
        ),
        // If podkey-init fails, ARC is left with a pod that fails.
        (
            pod.is_runner() && survey.on_failure == OnFailure::FailPod,
            "podkey: with fail-pod ARC replaces a refused runner for ever and shows no reason: use job hooks and fail-job",
        ),
        (
            state == InjectedState::OtherReaders,
            "podkey: a container with another user came after podkey-init, and may not be able to read the files",
        ),
    ];
    let conditions = conditions.into_iter().filter(|(holds, _)| *holds);
    let mut warnings: Warnings = conditions.map(|(_, warning)| warning.to_owned()).collect();
    // A wider audience of a secret is graver than a secret that does not arrive, which somebody will notice.
    warnings.extend(advice);
    if warnings.len() > MAX_WARNINGS {
        let more = warnings.len() + 1 - MAX_WARNINGS;
        warnings.truncate(MAX_WARNINGS - 1);
        warnings.push(format!("podkey: and {more} more warnings: mend these to see them"));
    }
    warnings
}

/// Whether podkey's user opens the service-account token to all users of the pod. The kubelet keeps tokens 0600 only while all
/// containers declare one user (KEP-1205).
fn opens_api_token(survey: &Survey<'_>) -> bool {
    let pod = survey.pod;
    let mut users = pod
        .authors_containers()
        .map(|container| container.run_as_user().or_else(|| pod.run_as_user()));
    let Some(Some(first)) = users.next() else { return false };
    users.all(|user| user == Some(first)) && survey.run_as_user != Some(first) && pod.fs_group().is_none()
}
