//! The operator's allow rules: which pods may use a connection for what.

use serde::Deserialize;

use super::pod::Pod;
use crate::plan::{ApiPath, PathTemplate, Pattern, Plan, pattern};

/// One rule. All fields must match, and a field left out matches all.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowRule {
    /// Namespaces of pods.
    #[serde(default, deserialize_with = "pattern::list")]
    pub namespaces: Option<Vec<Pattern>>,
    /// Service accounts of pods.
    #[serde(default, deserialize_with = "pattern::list")]
    pub service_accounts: Option<Vec<Pattern>>,
    /// Vault roles.
    #[serde(default, deserialize_with = "pattern::list")]
    pub roles: Option<Vec<Pattern>>,
    /// Mounts of auth methods.
    #[serde(default, deserialize_with = "pattern::list")]
    pub auth_mounts: Option<Vec<Pattern>>,
    /// API paths of secrets.
    #[serde(default, deserialize_with = "pattern::list")]
    pub secrets: Option<Vec<Pattern>>,
}

impl AllowRule {
    /// Whether this rule allows the whole of what a pod asks for. (The job's own login is the operator's choice, not the
    /// author's.)
    pub(super) fn allows<C>(&self, pod: &Pod<'_>, namespace: &str, plan: &Plan<C>) -> bool {
        let any = |patterns: &Option<Vec<Pattern>>, text: &str| match patterns {
            None => true,
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(text)),
        };
        let secret = |path: &ApiPath| any(&self.secrets, path.as_str());
        let job_secret = |path: &PathTemplate| match &self.secrets {
            None => true,
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches_template(path)),
        };
        any(&self.namespaces, namespace)
            && any(&self.service_accounts, pod.service_account())
            && plan.login.as_ref().is_none_or(|login| {
                any(&self.roles, login.role.as_str()) && any(&self.auth_mounts, login.mount.as_str())
            })
            && plan.files.iter().all(|file| secret(&file.secret))
            && plan.env.iter().all(|env| secret(&env.secret))
            && plan.job.iter().all(|job| {
                job.files.iter().all(|file| job_secret(&file.secret))
                    && job.env.iter().all(|env| job_secret(&env.secret))
            })
    }
}
