//! The Service by which the API server calls podkey, and the replicas behind it.

use serde_json::{Value, json};

use super::hook::Hook;
use super::release::Release;
use crate::cli::doctor::api::{self, ApiError};
use crate::cli::doctor::cluster::selector;
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{items, text};
use crate::cli::doctor::words::command;
use crate::cli::kubeconfig::KubeClient;

const SERVICE: &str = "webhook-service";
const REPLICAS: &str = "webhook-replicas";

pub(super) async fn check(cluster: &KubeClient, hook: &Hook<'_>, release: &Release, findings: &mut Findings) {
    let config = &hook.webhook["clientConfig"]["service"];
    if config.is_null() {
        findings.ok(SERVICE, "the webhook is called by an address, not by a Service");
        return;
    }
    if config["path"] != "/mutate" {
        let message = format!("the webhook's path in {} is not /mutate", hook.name());
        findings.fault(SERVICE, message, release.restore());
    }
    if let Some(service) = service(cluster, config, release, findings).await {
        selects(&service, release, findings);
    }
    match release.deployment() {
        Some(deployment) => replicas(cluster, deployment, release, findings).await,
        None => {
            let namespace = text(config, "/namespace");
            findings.unseen_right(REPLICAS, "podkey's Deployment", "list", "deployments", Some(namespace));
        }
    }
}

async fn service(cluster: &KubeClient, config: &Value, release: &Release, findings: &mut Findings) -> Option<Value> {
    let (namespace, name) = (text(config, "/namespace"), text(config, "/name"));
    let path = format!(
        "/api/v1/namespaces/{}/services/{}",
        api::segment(namespace),
        api::segment(name)
    );
    match api::get(cluster, &path).await {
        Ok(service) => {
            let port = config["port"].as_u64().unwrap_or(443);
            if !items(&service, "/spec/ports").any(|known| known["port"] == port) {
                let message = format!(
                    "the Service {namespace}/{name} has no port {port}, which the webhook's configuration names"
                );
                findings.fault(SERVICE, message, release.restore());
            }
            Some(service)
        }
        Err(ApiError::NotFound(_)) => {
            let message =
                format!("the Service {namespace}/{name}, by which the API server calls podkey, does not exist");
            findings.fault(SERVICE, message, release.restore());
            None
        }
        Err(ApiError::Forbidden(_)) => {
            findings.unseen_right(SERVICE, "podkey's Service", "get", "services", Some(namespace));
            None
        }
        Err(error) => {
            findings.unseen(SERVICE, format!("podkey's Service cannot be read: {error}"), None);
            None
        }
    }
}

/// Whether the Service selects the pods of the Deployment.
fn selects(service: &Value, release: &Release, findings: &mut Findings) {
    let Some(deployment) = release.deployment() else {
        return;
    };
    let selector = json!({"matchLabels": service["spec"]["selector"]});
    if !selector::matches(&selector, &deployment["spec"]["template"]["metadata"]["labels"]) {
        let message = format!(
            "the selector of the Service {} matches no pod of the Deployment {}",
            text(service, "/metadata/name"),
            text(deployment, "/metadata/name")
        );
        findings.fault(SERVICE, message, release.restore());
    }
}

async fn replicas(cluster: &KubeClient, deployment: &Value, release: &Release, findings: &mut Findings) {
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let ready = deployment["status"]["readyReplicas"].as_u64().unwrap_or(0);
    let name = text(deployment, "/metadata/name");
    let two = || release.kubectl(&["scale"], &["--replicas=2"]);
    if wanted == 0 {
        let message = format!("the Deployment {name} has no replicas: podkey does not run");
        return findings.fault(REPLICAS, message, two());
    }
    let old = text(deployment, "/spec/strategy/type") == "Recreate" || ready == 0;
    if ready < wanted {
        let why = waiting(cluster, deployment).await;
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let message = format!("{ready} of {wanted} replicas of the Deployment {name} are ready{why}");
        return match old {
            true => findings.fault(REPLICAS, message, release.kubectl(&["describe"], &[])),
            false => findings.warning(REPLICAS, message, release.kubectl(&["describe"], &[])),
        };
    }
    if wanted == 1 {
        let message =
            format!("the Deployment {name} has 1 replica: no pod that asks for secrets starts while it is replaced");
        return findings.warning(REPLICAS, message, two());
    }
    findings.ok(REPLICAS, format!("{ready} of {wanted} replicas of podkey are ready"));
}

/// Why a replica is not ready: the state of the first container that waits.
async fn waiting(cluster: &KubeClient, deployment: &Value) -> Option<String> {
    let namespace = text(deployment, "/metadata/namespace");
    let labels = deployment["spec"]["selector"]["matchLabels"].as_object()?;
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| api::segment(&format!("{key}={}", value.as_str().unwrap_or_default())))
        .collect();
    let path = format!(
        "/api/v1/namespaces/{}/pods?labelSelector={}",
        api::segment(namespace),
        labels.join("%2C")
    );
    let pods = api::get(cluster, &path).await.ok()?;
    let states =
        items(&pods, "/items").flat_map(|pod| items(pod, "/status/containerStatuses").map(move |state| (pod, state)));
    let mut reasons = states.filter_map(|(pod, state)| {
        let waiting = state["state"]["waiting"]["reason"].as_str()?;
        Some(format!("pod {} waits with {waiting}", text(pod, "/metadata/name")))
    });
    reasons.next()
}

/// The command that shows podkey's last log lines.
pub(super) fn logs(release: &Release) -> Option<String> {
    release.kubectl(&["logs"], &["--tail=20"])
}

/// The command that makes every replica check its certificates again.
pub(super) fn restart(release: &Release) -> Option<String> {
    let restart = release.kubectl(&["rollout", "restart"], &[])?;
    let wait = release.kubectl(&["rollout", "status"], &["--timeout=3m"])?;
    Some(format!("{restart} && {wait}"))
}

/// The command that lets cert-manager write the caBundle again.
pub(super) fn restart_injector() -> String {
    command(&[
        "kubectl",
        "rollout",
        "restart",
        "deployment/cert-manager-cainjector",
        "--namespace",
        "cert-manager",
    ])
}
