//! Paths as vault-k8s has them, without the `data` of KV v2: the agent asks the server which mount a path belongs to.

use serde::{Deserialize, Serialize};

use super::ApiPath;

/// The agent asks `sys/internal/ui/mounts/<path>` before it reads a path, as consul-template does, and inserts `data` behind a mount of
/// KV v2. Paths that are written stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MountLookup {
    /// The forms of the paths ([`ApiPath::forms`]) that the operator's rule lets the pod read. None: all forms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allowed: Option<Vec<ApiPath>>,
}

impl MountLookup {
    /// Whether the agent may read this form of a path.
    pub(crate) fn allows(&self, form: &ApiPath) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(form))
    }
}
