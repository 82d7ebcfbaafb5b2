//! How podkey finds the API server: by a kubeconfig, or as the pod that it runs in.

use std::time::SystemTime;

use http::HeaderValue;
use http::header::USER_AGENT;
use http::uri::Scheme;
use kube::config::{Config, InClusterError, KubeConfigOptions, KubeconfigError};

use super::Cluster;

/// Why podkey cannot reach the API server.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The file that `KUBECONFIG` names cannot be read or parsed.
    #[error("cannot use the kubeconfig that KUBECONFIG names")]
    Kubeconfig(#[from] KubeconfigError),
    /// podkey does not run in a pod with a service account's token.
    #[error(
        "podkey must reach the API server to make its own certificate, but it does not run in a pod with a service account's \
         token (automountServiceAccountToken). Mount such a token, or set KUBECONFIG, or give podkey a certificate with \
         --tls-cert and --tls-key"
    )]
    NoPod(#[from] InClusterError),
    /// The kubeconfig needs a feature that podkey does not support.
    #[error(
        "the kubeconfig that KUBECONFIG names must have an https server with a certificate-authority, and a user with a token \
         or tokenFile: no client certificate, program, password, proxy or impersonation"
    )]
    Unsupported,
}

impl Cluster {
    /// Uses the file that `KUBECONFIG` names, else the service account of the pod.
    pub(crate) async fn connect(now: fn() -> SystemTime) -> Result<Self, ClusterError> {
        // kube would also use ~/.kube/config, but podkey must not write into a cluster that the operator has not named.
        let config = if std::env::var_os("KUBECONFIG").is_some() {
            Config::from_kubeconfig(&KubeConfigOptions::default()).await?
        } else {
            Config::incluster()?
        };
        Self::new(config, now).ok_or(ClusterError::Unsupported)
    }

    /// Uses the service account of the pod. `None`: podkey does not run in a pod, or the pod has no token.
    pub(crate) fn of_this_pod(now: fn() -> SystemTime) -> Option<Self> {
        Self::new(Config::incluster().ok()?, now)
    }

    /// `None`: the config needs a feature that podkey does not support.
    pub(super) fn new(mut config: Config, now: fn() -> SystemTime) -> Option<Self> {
        if !is_supported(&config) {
            return None;
        }
        // kube must not retry 429 and 503: podkey reports them, and the next look retries.
        config.default_retry = false;
        let agent = HeaderValue::from_static(concat!("podkey/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, agent));
        Some(Self { config, now })
    }
}

/// Whether podkey supports the config. Without a CA, kube's client would trust the CAs of the system. With a program for the
/// login, kube would run the program at each call.
fn is_supported(config: &Config) -> bool {
    let user = &config.auth_info;
    let token = user.token.is_some() || user.token_file.is_some();
    let certificate = user.client_certificate.is_some() || user.client_certificate_data.is_some();
    let program = user.exec.is_some() || user.auth_provider.is_some();
    let other = certificate || program || user.username.is_some() || user.impersonate.is_some();
    let https = config.cluster_url.scheme() == Some(&Scheme::HTTPS);
    let verified = https && config.root_cert.is_some() && !config.accept_invalid_certs;
    token && !other && verified && config.proxy_url.is_none()
}
