//! What a namespace allows its pods: Pod Security, LimitRange and ResourceQuota, against the pod with podkey's containers.

mod pod_security;
mod quota;
mod range;

use serde_json::Value;

use super::refusal::Refusal;
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{Admission, ExaminedPod};
use crate::cli::kubeconfig::KubeClient;

/// `labels`: of the namespace.
pub(super) async fn check(
    cluster: &KubeClient,
    namespace: &str,
    pod: &ExaminedPod,
    labels: Option<&Value>,
    refusal: Option<&Refusal>,
    findings: &mut Findings,
) {
    match refusal {
        Some(Refusal::PodSecurity(message)) => pod_security::refused(message, pod, findings),
        Some(Refusal::LimitRange(message)) => range::refused(cluster, namespace, message, findings).await,
        Some(Refusal::Quota { name, message }) => quota::refused(namespace, name, message, pod, findings),
        Some(refusal) => {
            let why = match refusal {
                Refusal::NoRight => "they are not asked, as you may not create pods",
                Refusal::NoAnswer(_) => "the API server does not answer",
                _ => "the pod is refused before they are asked",
            };
            findings.unseen(
                "limits",
                format!("Pod Security, LimitRange and ResourceQuota: {why}"),
                None,
            );
        }
        None if matches!(pod.admission, Admission::Admitted(_)) => {
            pod_security::passed(labels, findings);
            findings.ok(
                "limits",
                "the LimitRanges and ResourceQuotas of the namespace have room for the pod",
            );
        }
        None => {}
    }
}
