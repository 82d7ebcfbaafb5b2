//! What the annotations of vault-k8s ask for, and podkey's own do not.

use crate::inject::problem::Warnings;
use crate::inject::words::vault_k8s::Family;
use crate::plan::{Address, ApiPath, AuthMethod};

/// What only the annotations of vault-k8s ask for.
#[derive(Debug)]
pub(crate) struct VaultK8sRequest {
    /// Whose keys a message names.
    pub(crate) family: Family,
    /// The server. None: that of the operator's connection for such pods.
    pub(crate) service: Option<Address>,
    /// None: that of the connection.
    pub(crate) namespace: Option<ApiPath>,
    /// None: that of the connection.
    pub(crate) method: Option<AuthMethod>,
    /// None: all containers. A name that the pod does not have is ignored.
    pub(crate) containers: Option<Vec<String>>,
    /// Whether init containers get the files.
    pub(crate) serves_init_containers: bool,
    /// The user of podkey's containers.
    pub(crate) run_as: RunAs,
    /// Whether the pod's containers are to see each other's processes.
    pub(crate) shares_processes: bool,
    /// What podkey does otherwise than vault-k8s.
    pub(crate) warnings: Warnings,
}

/// The user of podkey's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// As podkey chooses.
    Podkeys,
    /// This user, which is not 0.
    User(i64),
    /// The user of the first container.
    FirstContainers,
}
