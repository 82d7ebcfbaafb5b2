//! The operator's allow rules: which pods may use a connection for what.

use serde::Deserialize;

use super::pod::Pod;
use crate::plan::{Login, Pattern, PlannedFile};

/// One rule. All fields must match, and a field left out matches all.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowRule {
    /// Namespaces of pods.
    pub namespaces: Option<Vec<Pattern>>,
    /// Service accounts of pods.
    pub service_accounts: Option<Vec<Pattern>>,
    /// Vault roles.
    pub roles: Option<Vec<Pattern>>,
    /// Mounts of auth methods.
    pub auth_mounts: Option<Vec<Pattern>>,
    /// API paths of secrets.
    pub secrets: Option<Vec<Pattern>>,
}

impl AllowRule {
    /// Whether this rule allows the whole of what a pod asks for.
    pub(super) fn allows(&self, pod: &Pod<'_>, namespace: &str, login: &Login, files: &[PlannedFile]) -> bool {
        let any = |patterns: &Option<Vec<Pattern>>, text: &str| match patterns {
            None => true,
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(text)),
        };
        any(&self.namespaces, namespace)
            && any(&self.service_accounts, pod.service_account())
            && any(&self.roles, login.role.as_str())
            && any(&self.auth_mounts, login.mount.as_str())
            && files.iter().all(|file| any(&self.secrets, file.secret.as_str()))
    }
}
