//! The webhook: its configuration, its Service and replicas, the CA, and the guard.

mod call;
mod configuration;
mod guard;
mod hook;
mod release;
mod server;

use serde_json::Value;

use self::hook::Hook;
use self::release::Release;
use super::refusal::Refusal;
use crate::cli::doctor::api::{self, ApiError};
use crate::cli::doctor::examined::asks;
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{ExaminedPod, Situation, items, text};
use crate::cli::kubeconfig::KubeClient;
use crate::inject::vocabulary::WEBHOOK_SUFFIX;
use crate::inject::{Family, INJECT};

const CHECK: &str = "webhook";
const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// Finds the webhook's configuration, and checks all that belongs to the webhook. `labels`: of the pod's namespace.
pub(super) async fn check(
    cluster: &KubeClient,
    situation: &Situation,
    labels: Option<&Value>,
    refusal: Option<&Refusal>,
    findings: &mut Findings,
) {
    let list = match api::get(cluster, CONFIGURATIONS).await {
        Ok(list) => Some(list),
        Err(ApiError::Forbidden(_)) => {
            let what = "the webhook's configuration";
            findings.unseen_right(CHECK, what, "list", "mutatingwebhookconfigurations", None);
            None
        }
        Err(error) => {
            findings.unseen(
                CHECK,
                format!("the webhook's configuration cannot be read: {error}"),
                None,
            );
            None
        }
    };
    let hooks = list.as_ref().map(|list| hooks(list, situation)).unwrap_or_default();
    // Several releases may serve one cluster: the one that serves the namespace.
    let serving = hooks
        .iter()
        .find(|hook| labels.is_none_or(|labels| hook.is_for(labels)));
    let hook = serving.or_else(|| hooks.first());
    let release = Release::find(cluster, hook).await;
    match hook {
        Some(hook) => configuration::check(hook, situation, labels, refusal, &release, findings),
        None if list.is_some() => missing(&release, refusal, findings),
        None => {}
    }
    if let Some(hook) = hook {
        server::check(cluster, hook, &release, findings).await;
    }
    call::check(cluster, situation, hook, labels, &release, findings).await;
    guard::check(cluster, &release, findings).await;
}

/// podkey's webhooks in the list, for the annotations that the pod has.
fn hooks<'v>(list: &'v Value, situation: &Situation) -> Vec<Hook<'v>> {
    let asks_vault_k8s = |pod: &ExaminedPod| {
        let annotations = &pod.written["metadata"]["annotations"];
        let switches = Family::ALL.map(|family| family.key(INJECT));
        switches.iter().any(|switch| annotations[switch].is_string()) && !asks(&pod.written)
    };
    let wants_podkey = !situation.pod.as_ref().is_some_and(asks_vault_k8s);
    let all = items(list, "/items").flat_map(|configuration| {
        let webhooks = items(configuration, "/webhooks").enumerate();
        webhooks.map(move |(index, webhook)| Hook {
            configuration,
            webhook,
            index,
        })
    });
    let mut ours: Vec<Hook<'v>> = all
        .filter(|hook| text(hook.webhook, "/name").ends_with(WEBHOOK_SUFFIX))
        .collect();
    // A pod with podkey's annotations goes to the webhook `pods`, a pod with vault-k8s' to the other.
    let is_pods = |hook: &Hook<'_>| text(hook.webhook, "/name").starts_with("pods.");
    if ours.iter().any(|hook| is_pods(hook) == wants_podkey) {
        ours.retain(|hook| is_pods(hook) == wants_podkey);
    }
    ours
}

fn missing(release: &Release, refusal: Option<&Refusal>, findings: &mut Findings) {
    // podkey answers, by a webhook whose name the doctor does not know.
    if matches!(refusal, Some(Refusal::Podkey(_))) {
        return;
    }
    let message = match release {
        Release::None => "podkey is not installed: the cluster has no MutatingWebhookConfiguration of podkey",
        _ => "the MutatingWebhookConfiguration of podkey is missing: podkey gets no pods",
    };
    findings.fault(CHECK, message, release.install().or_else(|| release.restore()));
}
