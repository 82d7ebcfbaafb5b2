//! Whether the NetworkPolicies of the namespace let the pod reach the server of its secrets, as far as rules can tell.

mod rules;
mod target;

use serde_json::{Value, json};

use self::rules::{Target, Verdict};
use crate::cli::doctor::api::{self, ApiError};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::{ExaminedPod, items, text};
use crate::cli::doctor::words::{command, quote};
use crate::cli::kubeconfig::KubeClient;
use crate::plan::Plan;

const CHECK: &str = "network-policy";

/// API groups of policies that a network plugin has beside Kubernetes' own.
const OTHERS: [&str; 7] = [
    "cilium.io",
    "crd.antrea.io",
    "crd.projectcalico.org",
    "k8s.ovn.org",
    "policy.networking.k8s.io",
    "projectcalico.org",
    "networking.gke.io",
];

pub(super) async fn check(cluster: &KubeClient, namespace: &str, pod: &ExaminedPod, findings: &mut Findings) {
    let Some(plan) = &pod.plan else {
        findings.unseen(
            CHECK,
            "NetworkPolicies: without podkey's plan the server is not known",
            None,
        );
        return;
    };
    let path = format!(
        "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
        api::segment(namespace)
    );
    match api::get(cluster, &path).await {
        Ok(list) => {
            let limiting = rules::limiting(&list, &pod.pod["metadata"]["labels"]);
            if limiting.is_empty() {
                findings.ok(CHECK, "no NetworkPolicy limits where the pod connects to");
            } else {
                let policies = Policies {
                    limiting: &limiting,
                    new_name: free_name(&list),
                };
                limited(cluster, namespace, pod, plan, &policies, findings).await;
            }
        }
        Err(ApiError::Forbidden(_)) => {
            findings.unseen_right(CHECK, "the NetworkPolicies", "list", "networkpolicies", Some(namespace));
        }
        Err(error) => findings.unseen(CHECK, format!("the NetworkPolicies cannot be read: {error}"), None),
    }
    others(cluster, findings).await;
}

/// The policies of the namespace.
struct Policies<'v> {
    /// Those that limit where the pod connects to: at least one.
    limiting: &'v [&'v Value],
    /// A name that no policy has.
    new_name: String,
}

/// A name for a new policy. `kubectl apply` would overwrite a policy of that name.
fn free_name(list: &Value) -> String {
    let is_free = |name: &String| !items(list, "/items").any(|policy| policy["metadata"]["name"] == name.as_str());
    let others = (2..).map(|number| format!("podkey-egress-{number}"));
    let mut names = std::iter::once("podkey-egress".to_owned()).chain(others);
    names.find(is_free).unwrap_or_default()
}

async fn limited(
    cluster: &KubeClient,
    namespace: &str,
    pod: &ExaminedPod,
    plan: &Plan,
    policies: &Policies<'_>,
    findings: &mut Findings,
) {
    let limiting = policies.limiting;
    let address = &plan.connection.address;
    let (host, port) = (address.host(), address.port());
    let targets = target::targets(cluster, namespace, host, port).await;
    let is_name = host.parse::<std::net::IpAddr>().is_err();
    let verdicts = targets
        .iter()
        .map(|target| rules::to_target(limiting, namespace, target));
    let verdict = verdicts.max().unwrap_or(Verdict::Unknown);
    let names: Vec<&str> = limiting.iter().map(|policy| text(policy, "/metadata/name")).collect();
    let names = names.join(", ");
    let is_dns_denied = is_name && rules::to_dns(limiting) == Verdict::Denied;
    let open = || Some(allowing(namespace, pod, policies, &targets, is_dns_denied)).filter(|_| !targets.is_empty());
    if verdict == Verdict::Denied {
        let message = format!("the NetworkPolicies of the pod ({names}) do not let it reach {host} on port {port}");
        return findings.fault(CHECK, message, open());
    }
    if is_dns_denied {
        let message = format!(
            "the NetworkPolicies of the pod ({names}) do not let it ask for the address of {host}: no rule opens a UDP port"
        );
        return findings.fault(CHECK, message, open());
    }
    match verdict {
        Verdict::Unknown => {
            let message = format!(
                "the NetworkPolicies of the pod ({names}): the doctor does not see which of their peers is {host}"
            );
            findings.unseen(CHECK, message, None);
        }
        _ => findings.ok(
            CHECK,
            format!("the NetworkPolicies of the pod ({names}) let it reach {host} on port {port}"),
        ),
    }
}

/// The command that adds a policy by which the pod reaches the targets. Policies add to each other; but a policy also limits each pod
/// that it selects, so the new one selects none that the old one does not.
fn allowing(
    namespace: &str,
    pod: &ExaminedPod,
    policies: &Policies<'_>,
    targets: &[Target],
    opens_dns: bool,
) -> String {
    let mut peers: Vec<Value> = targets.iter().filter_map(peer).collect();
    peers.dedup();
    let port = |target: &Target| match target.port {
        Some(port) => json!({"protocol": "TCP", "port": port}),
        None => json!({"protocol": "TCP", "port": target.port_name}),
    };
    let mut ports: Vec<Value> = targets.iter().map(port).collect();
    ports.dedup();
    let mut egress = vec![json!({"to": peers, "ports": ports})];
    if opens_dns {
        egress.push(json!({"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}));
    }
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": policies.new_name},
        "spec": {"podSelector": selected(&pod.written, policies.limiting), "policyTypes": ["Egress"], "egress": egress},
    });
    let apply = command(&["kubectl", "apply", "--namespace", namespace, "-f", "-"]);
    format!("printf '%s' {} | {apply}", quote(&policy.to_string()))
}

fn peer(target: &Target) -> Option<Value> {
    if let Some(pod) = &target.pod {
        let place = json!({"matchLabels": {"kubernetes.io/metadata.name": pod.namespace}});
        return Some(json!({"namespaceSelector": place, "podSelector": {"matchLabels": pod.selector}}));
    }
    let ip = target.ip?;
    let length = if ip.is_ipv4() { 32 } else { 128 };
    Some(json!({"ipBlock": {"cidr": format!("{ip}/{length}")}}))
}

/// The selector of the first policy that limits the pod, and the labels that the author gave the pod.
fn selected(pod: &Value, limiting: &[&Value]) -> Value {
    let mut selector = limiting
        .first()
        .map_or(Value::Null, |policy| policy["spec"]["podSelector"].clone());
    let own = own_labels(pod);
    for (key, value) in own {
        selector["matchLabels"][key] = value;
    }
    selector
}

/// The labels that the author gave the pod. Controllers add labels with hashes. The next pod has other hashes.
fn own_labels(pod: &Value) -> serde_json::Map<String, Value> {
    let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
    labels
        .filter(|(key, _)| {
            !["hash", "controller-uid", "job-name", "pod-name", "pod-index"]
                .iter()
                .any(|part| key.contains(part))
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Names the kinds of policies that the doctor does not read.
async fn others(cluster: &KubeClient, findings: &mut Findings) {
    let Ok(groups) = api::get(cluster, "/apis").await else {
        return;
    };
    let names = items(&groups, "/groups").map(|group| text(group, "/name"));
    let found: Vec<&str> = names.filter(|name| OTHERS.contains(name)).collect();
    if !found.is_empty() {
        let message = format!(
            "policies of the network plugin, which the doctor does not read: {}",
            found.join(", ")
        );
        findings.unseen(CHECK, message, None);
    }
}
