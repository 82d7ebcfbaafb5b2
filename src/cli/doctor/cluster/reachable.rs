//! Whether the API server can be reached, and its version.

use http::StatusCode;

use crate::cli::doctor::api::{self, ApiError};
use crate::cli::doctor::finding::Findings;
use crate::cli::doctor::situation::text;
use crate::cli::kubeconfig::KubeClient;
use crate::inject::KubernetesVersion;

/// The oldest version that podkey's chart installs on.
const OLDEST: &str = "1.30";

/// Whether the API server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::doctor) enum Answers {
    Yes,
    /// It does not accept the kubeconfig's user: nothing else can be asked.
    NotToUser,
    No,
}

pub(in crate::cli::doctor) async fn check(cluster: &KubeClient, findings: &mut Findings) -> Answers {
    let server = &cluster.server;
    let version = match api::get(cluster, "/version").await {
        Ok(version) if text(&version, "/gitVersion").is_empty() => {
            return no_api_server(server, "the answer has no version of Kubernetes", findings);
        }
        Ok(version) => version,
        Err(ApiError::Status { status, message }) if status == StatusCode::UNAUTHORIZED => {
            let message = format!("the API server at {server} does not accept the kubeconfig's user: {message}");
            findings.fault("cluster", message, Some("kubectl auth whoami".to_owned()));
            return Answers::NotToUser;
        }
        // The API server knows this path.
        Err(ApiError::NotFound(_)) => return no_api_server(server, "it does not know the path /version", findings),
        Err(error @ ApiError::Foreign(_)) => return no_api_server(server, &error.to_string(), findings),
        Err(error @ ApiError::Status { .. }) => {
            let message = format!("the API server at {server} cannot answer now: {error}");
            findings.fault("cluster", message, None);
            return Answers::No;
        }
        Err(ApiError::NoAnswer(error)) => {
            let message = format!("the API server at {server} does not answer: {error}");
            findings.fault("cluster", message, Some("kubectl cluster-info".to_owned()));
            return Answers::No;
        }
        Err(ApiError::Forbidden(error)) => {
            let message = format!("the version of {server} cannot be read: {error}");
            findings.unseen("cluster", message, None);
            return Answers::Yes;
        }
    };
    let git_version = text(&version, "/gitVersion");
    let (found, oldest) = (
        git_version.parse::<KubernetesVersion>(),
        OLDEST.parse::<KubernetesVersion>(),
    );
    let message = format!("the API server at {server} is Kubernetes {git_version}");
    match (found, oldest) {
        (Ok(found), Ok(oldest)) if found < oldest => findings.fault(
            "cluster",
            format!("{message}: podkey needs {OLDEST} or later. Upgrade the cluster"),
            None,
        ),
        _ => findings.ok("cluster", message),
    }
    Answers::Yes
}

/// The kubeconfig names another server, or a proxy stands in the way. No command for the cluster would help.
fn no_api_server(server: &str, why: &str, findings: &mut Findings) -> Answers {
    let message = format!(
        "{server} does not answer as an API server: {why}. Look at the address in the kubeconfig, and at proxies on the way"
    );
    findings.fault("cluster", message, Some("kubectl config view --minify".to_owned()));
    Answers::No
}
