//! The server of a pod's secrets, and how `init` logs in there.

use serde::{Deserialize, Serialize};

use super::{Address, ApiPath, Role, ServerName, is_false, words::words};

/// A Vault or OpenBao server, as the operator defined it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// The name of the connection, which the pod's author chose.
    pub(crate) name: String,
    /// Scheme, host and port.
    pub(crate) address: Address,
    /// PEM certificates of the only authorities to trust. None: the bundle of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name to expect in the server's certificate. None: the host of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls_server_name: Option<ServerName>,
    /// Namespace of Vault Enterprise or OpenBao.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<ApiPath>,
    /// Whether the operator accepts that tokens and secrets cross the network in clear text.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) allow_insecure_http: bool,
}

/// A login with a service-account token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Login {
    /// The type of the auth method at the mount.
    pub(crate) method: AuthMethod,
    /// The mount path of the auth method, without `auth/`.
    pub(crate) mount: ApiPath,
    /// The Vault role.
    pub(crate) role: Role,
    /// Whether each read carries the login (inline authentication), where that can serve, so that there is no client token.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) inline: bool,
}

words! {
    /// An auth method that takes a service-account token.
    pub(crate) enum AuthMethod {
        /// The server asks the API server about the token (TokenReview):
        /// <https://developer.hashicorp.com/vault/docs/auth/kubernetes>
        Kubernetes = "kubernetes",
        /// The server checks the token's signature itself: <https://developer.hashicorp.com/vault/docs/auth/jwt>
        Jwt = "jwt",
    }
}
