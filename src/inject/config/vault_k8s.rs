//! `vaultK8s`: whether pods with the annotations of vault-k8s are injected, and from which server.

use std::collections::BTreeMap;

use super::connection::{ConnectionConfig, DEFAULT_CONNECTION};
use super::error::ConfigError;
use super::section::section;

section! {
    /// What pods with the annotations of vault-k8s get.
    #[derive(Debug, Clone)]
    pub(crate) struct VaultK8sConfig, VAULT_K8S: VaultK8sKeys at "vaultK8s." {
        /// The connection of pods that name no server.
        #[serde(default = "default_connection")]
        pub(crate) connection: String = "connection": AllPods, default "`default`", example "default",
            value "the name of a connection";
        /// Whether pods may have the client token as a file (`agent-inject-token`). An app with the token reads all that the role may.
        #[serde(default)]
        pub(crate) allow_tokens: bool = "allowTokens": AllPods, default "`false`", example "false";
    }
}

fn default_connection() -> String {
    DEFAULT_CONNECTION.to_owned()
}

impl VaultK8sConfig {
    pub(super) fn check(&self, connections: &BTreeMap<String, ConnectionConfig>) -> Result<(), ConfigError> {
        match connections.contains_key(&self.connection) {
            true => Ok(()),
            false => VAULT_K8S
                .connection
                .wrong(format!("{:?} is not one of the connections", self.connection)),
        }
    }
}
