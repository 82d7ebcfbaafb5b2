//! The pod's namespace: its labels, which decide what the webhook, Pod Security and network policies do with its pods.

use serde_json::Value;

use crate::cli::doctor::api::{self, ApiError};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::words::command;
use crate::cli::kubeconfig::KubeClient;

/// The labels of the namespace. None, with a finding: the doctor does not see them.
pub(super) async fn labels(cluster: &KubeClient, namespace: &str, findings: &mut Findings) -> Option<Value> {
    let path = format!("/api/v1/namespaces/{}", api::segment(namespace));
    match api::get(cluster, &path).await {
        Ok(mut object) => {
            if !object["metadata"]["deletionTimestamp"].is_null() {
                let message = format!("the namespace {namespace} is being deleted: it takes no new pods");
                findings.fault("namespace", message, None);
            }
            Some(object["metadata"]["labels"].take())
        }
        Err(ApiError::NotFound(_)) => {
            let create = command(&["kubectl", "create", "namespace", namespace]);
            findings.fault("namespace", format!("there is no namespace {namespace}"), Some(create));
            None
        }
        Err(ApiError::Forbidden(_)) => {
            let what = format!("the labels of the namespace {namespace}");
            findings.unseen_right("namespace", &what, "get", "namespaces", Some(namespace));
            None
        }
        Err(error) => {
            findings.unseen("namespace", format!("the namespace cannot be read: {error}"), None);
            None
        }
    }
}
