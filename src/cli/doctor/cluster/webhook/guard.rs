//! The guard: a ValidatingAdmissionPolicy that refuses a pod that podkey has not injected. An operator may leave the guard out.

use serde_json::Value;

use super::release::Release;
use crate::cli::doctor::api::{self, ApiError};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{items, text};
use crate::cli::kubeconfig::KubeClient;

const CHECK: &str = "guard";
const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const SELECTOR: &str = "labelSelector=app.kubernetes.io%2Fname%3Dpodkey";

pub(super) async fn check(cluster: &KubeClient, release: &Release, findings: &mut Findings) {
    let policies = list(cluster, "validatingadmissionpolicies", findings).await;
    let bindings = list(cluster, "validatingadmissionpolicybindings", findings).await;
    let (Some(policies), Some(bindings)) = (policies, bindings) else {
        return;
    };
    let policies: Vec<&str> = items(&policies, "/items")
        .map(|policy| text(policy, "/metadata/name"))
        .collect();
    let bound: Vec<&str> = items(&bindings, "/items")
        .map(|binding| text(binding, "/spec/policyName"))
        .collect();
    let loose = bound.iter().filter(|policy| !policies.contains(policy));
    for policy in loose {
        let message =
            format!("the policy {policy}, which a binding of podkey names, does not exist: nothing is refused");
        findings.fault(CHECK, message, release.restore());
    }
    for policy in policies.iter().filter(|policy| !bound.contains(policy)) {
        let message = format!("the policy {policy} has no binding: it is not at work");
        findings.warning(CHECK, message, release.restore());
    }
    let is_guard = |name: &&&str| name.ends_with("-guard");
    match bound.iter().find(is_guard) {
        Some(name) if policies.contains(name) => {
            findings.ok(
                CHECK,
                format!("the guard {name} refuses pods that podkey has not injected"),
            );
        }
        _ => findings.ok(
            CHECK,
            "there is no guard; the webhook's failurePolicy alone keeps pods without secrets back",
        ),
    }
}

async fn list(cluster: &KubeClient, resource: &str, findings: &mut Findings) -> Option<Value> {
    match api::get(cluster, &format!("{GROUP}/{resource}?{SELECTOR}")).await {
        Ok(list) => Some(list),
        Err(ApiError::Forbidden(_)) => {
            findings.unseen_right(CHECK, "podkey's guard", "list", resource, None);
            None
        }
        Err(error) => {
            findings.unseen(CHECK, format!("podkey's guard cannot be read: {error}"), None);
            None
        }
    }
}
