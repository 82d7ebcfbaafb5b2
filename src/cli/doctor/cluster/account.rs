//! Whether the pod's service account exists.

use crate::cli::doctor::api::{self, ApiError};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::ExaminedPod;
use crate::cli::doctor::words::command;
use crate::cli::kubeconfig::KubeClient;

const CHECK: &str = "service-account";

pub(super) async fn check(cluster: &KubeClient, namespace: &str, pod: &ExaminedPod, findings: &mut Findings) {
    let account = &pod.account;
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{}",
        api::segment(namespace),
        api::segment(account)
    );
    match api::get(cluster, &path).await {
        Err(ApiError::NotFound(_)) if pod.makes_account => {
            findings.ok(CHECK, format!("the manifest makes the service account {account}"));
        }
        Ok(_) => findings.ok(CHECK, format!("the service account {account} exists")),
        Err(ApiError::NotFound(_)) => {
            let create = ["kubectl", "create", "serviceaccount", account, "--namespace", namespace];
            let message =
                format!("the service account {account} of the pod does not exist in the namespace {namespace}");
            findings.fault(CHECK, message, Some(command(&create)));
        }
        Err(ApiError::Forbidden(_)) => {
            let what = format!("the service account {account}");
            findings.unseen_right(CHECK, &what, "get", "serviceaccounts", Some(namespace));
        }
        Err(error) => findings.unseen(CHECK, format!("the service account cannot be read: {error}"), None),
    }
}
