//! The checks of the cluster, in their order.

mod account;
mod admission;
mod limits;
mod namespace;
mod network;
mod reachable;
mod refusal;
mod selector;
mod webhook;

pub(super) use self::reachable::{Answers, check as reachable};
use self::refusal::Refusal;
use super::finding::Findings;
use super::progress::Progress;
use super::situation::Situation;

/// All other checks of the cluster.
pub(super) async fn check(situation: &Situation, findings: &mut Findings, progress: &Progress) {
    let Some(cluster) = &situation.cluster else {
        return;
    };
    let namespace = &situation.namespace;
    let refusal = situation
        .pod
        .as_ref()
        .and_then(|pod| Refusal::in_answer(&pod.admission));
    progress.looking_at("the webhook");
    let labels = namespace::labels(cluster, namespace, findings).await;
    webhook::check(cluster, situation, labels.as_ref(), refusal.as_ref(), findings).await;
    admission::check(situation, refusal.as_ref(), findings);
    let Some(pod) = &situation.pod else {
        return;
    };
    progress.looking_at("the service account");
    account::check(cluster, namespace, pod, findings).await;
    limits::check(cluster, namespace, pod, labels.as_ref(), refusal.as_ref(), findings).await;
    progress.looking_at("network policies");
    network::check(cluster, namespace, pod, findings).await;
}
