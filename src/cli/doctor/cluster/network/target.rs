//! Where the pod's connection to the server ends: an address, or the pods behind a Service.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::rules::{Target, TargetPod};
use crate::cli::doctor::api;
use crate::cli::doctor::situation::{items, text};
use crate::cli::kubeconfig::KubeClient;

/// The time limit for the question to this machine's name server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The most addresses of one server.
const MAX_TARGETS: usize = 16;

/// The server's address, seen from a pod of the namespace. An empty list: not known.
pub(super) async fn targets(cluster: &KubeClient, namespace: &str, host: &str, port: u16) -> Vec<Target> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return of_address(cluster, ip, port).await;
    }
    if let Some((name, place)) = service_name(host, namespace) {
        return of_service(cluster, name, place, port).await;
    }
    // As this machine knows the name. Inside the cluster it can mean something else.
    match timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => found.take(MAX_TARGETS).map(|found| address(found.ip(), port)).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn address(ip: IpAddr, port: u16) -> Target {
    Target {
        ip: Some(ip),
        port: Some(port),
        ..Target::default()
    }
}

/// An address can be a Service's: then the connection ends at the pods of the Service.
async fn of_address(cluster: &KubeClient, ip: IpAddr, port: u16) -> Vec<Target> {
    let found = api::get(
        cluster,
        &format!("/api/v1/services?fieldSelector=spec.clusterIP%3D{ip}"),
    )
    .await;
    let found = found.map(|list| items(&list, "/items").next().cloned());
    match found {
        Ok(Some(service)) => {
            let (name, place) = (text(&service, "/metadata/name"), text(&service, "/metadata/namespace"));
            match of_service(cluster, name, place, port).await {
                targets if targets.is_empty() => vec![Target {
                    may_be_service: true,
                    ..address(ip, port)
                }],
                targets => targets,
            }
        }
        Ok(None) => vec![address(ip, port)],
        Err(_) => vec![Target {
            may_be_service: true,
            ..address(ip, port)
        }],
    }
}

/// Name and namespace of the Service: `vault`, `vault.NAMESPACE`, `vault.NAMESPACE.svc` and what may follow.
fn service_name<'h>(host: &'h str, namespace: &'h str) -> Option<(&'h str, &'h str)> {
    let parts: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    match parts[..] {
        [name] => Some((name, namespace)),
        [name, place, "svc", ..] => Some((name, place)),
        _ => None,
    }
}

async fn of_service(cluster: &KubeClient, name: &str, place: &str, port: u16) -> Vec<Target> {
    let base = format!("/api/v1/namespaces/{}", api::segment(place));
    let Ok(service) = api::get(cluster, &format!("{base}/services/{}", api::segment(name))).await else {
        return Vec::new();
    };
    let Some(selector) = service["spec"]["selector"]
        .as_object()
        .filter(|selector| !selector.is_empty())
    else {
        return Vec::new();
    };
    let target_port = items(&service, "/spec/ports").find(|known| known["port"] == port);
    let target_port = target_port.map_or(Value::Null, |known| known["targetPort"].clone());
    let query: Vec<String> = selector
        .iter()
        .map(|(key, value)| api::segment(&format!("{key}={}", value.as_str().unwrap_or_default())))
        .collect();
    let pods = api::get(cluster, &format!("{base}/pods?labelSelector={}", query.join("%2C"))).await;
    let namespace = api::get(cluster, &base)
        .await
        .map(|mut object| object["metadata"]["labels"].take());
    let target_pod = |labels: &Value| TargetPod {
        namespace: place.to_owned(),
        // Each namespace has this label.
        namespace_labels: namespace
            .clone()
            .unwrap_or_else(|_| json!({"kubernetes.io/metadata.name": place})),
        labels: labels.clone(),
        selector: service["spec"]["selector"].clone(),
    };
    let running = pods
        .as_ref()
        .map(|list| items(list, "/items").take(MAX_TARGETS).collect::<Vec<_>>());
    match running {
        Ok(pods) if !pods.is_empty() => pods
            .iter()
            .map(|pod| {
                let (port, port_name) = pod_port(pod, &target_port, port);
                Target {
                    ip: text(pod, "/status/podIP").parse().ok(),
                    port: Some(port),
                    port_name,
                    pod: Some(target_pod(&pod["metadata"]["labels"])),
                    may_be_service: false,
                }
            })
            .collect(),
        // The pods are not seen. They have at least the labels of the selector.
        _ => vec![Target {
            ip: None,
            port: match &target_port {
                Value::String(_) => None,
                number => Some(
                    number
                        .as_u64()
                        .and_then(|port| u16::try_from(port).ok())
                        .unwrap_or(port),
                ),
            },
            port_name: target_port.as_str().map(str::to_owned),
            pod: Some(target_pod(&service["spec"]["selector"])),
            may_be_service: false,
        }],
    }
}

/// The pod's port that the Service means, and its name.
fn pod_port(pod: &Value, target_port: &Value, port: u16) -> (u16, Option<String>) {
    let mut ports = items(pod, "/spec/containers").flat_map(|container| items(container, "/ports"));
    let found = match target_port {
        Value::String(name) => ports.find(|known| known["name"] == name.as_str()),
        Value::Number(number) => ports.find(|known| known["containerPort"] == Value::Number(number.clone())),
        _ => ports.find(|known| known["containerPort"] == port),
    };
    let number = found
        .and_then(|known| known["containerPort"].as_u64())
        .or(target_port.as_u64());
    let number = number.and_then(|number| u16::try_from(number).ok()).unwrap_or(port);
    (
        number,
        found.and_then(|known| known["name"].as_str()).map(str::to_owned),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_its_name() {
        assert_eq!(service_name("vault.vault.svc", "team"), Some(("vault", "vault")));
        assert_eq!(service_name("vault.x.svc.cluster.local.", "team"), Some(("vault", "x")));
        assert_eq!(service_name("vault", "team"), Some(("vault", "team")));
        assert_eq!(service_name("vault.example.com", "team"), None);
    }
}
