//! The parsed annotations of one pod together, and what they say without a look at the pod.

use crate::inject::request::env_delivery::EnvDelivery;
use crate::inject::request::files::file::FileRequest;
use crate::inject::request::requested::Requested;
use crate::inject::request::vault_k8s::asked::VaultK8sRequest;
use crate::plan::{
    ApiPath, Destination, EnvSecret, Interval, JobPolicy, Mask, MountLookup, OnChange, OnFailure, PathTemplate, Role,
};

/// The parsed annotations of one pod. A value that does not parse is left out here and reported as a problem.
#[derive(Debug, Default)]
pub(crate) struct InjectionRequest {
    pub(crate) connection: Option<String>,
    pub(crate) role: Requested<Role>,
    pub(crate) auth_mount: Option<ApiPath>,
    /// The entries that parse, in the author's order, but those that `init` reads before those that the job reads.
    pub(crate) files: Vec<FileRequest>,
    /// Entries of the annotation are missing in `files`, because they do not parse.
    pub(crate) files_are_incomplete: bool,
    pub(crate) env: Vec<EnvSecret>,
    pub(crate) job_env: Vec<EnvSecret<PathTemplate>>,
    /// Absent: variables are exported, by the job hooks or by the agent in front of a command.
    pub(crate) export: Requested<bool>,
    /// Absent: podkey chooses.
    pub(crate) env_delivery: Requested<EnvDelivery>,
    pub(crate) mask: Option<Mask>,
    /// Absent: job hooks are on in a runner pod.
    pub(crate) job_hooks: Requested<bool>,
    pub(crate) job_policy: Option<JobPolicy>,
    /// Copies of the files go where the container of a job sees them.
    pub(crate) job_temp: bool,
    /// None: the job fails where there are job hooks, else the pod.
    pub(crate) on_failure: Option<OnFailure>,
    /// How often the secrets are read again. `never` is absent.
    pub(crate) refresh: Requested<Interval>,
    pub(crate) on_change: Vec<OnChange>,
    /// None: the default for the kind of pod.
    pub(crate) containers: Option<Vec<String>>,
    pub(crate) ignore_not_found: bool,
    /// What only the annotations of vault-k8s ask for. None: the annotations are podkey's own.
    pub(crate) vault_k8s: Option<VaultK8sRequest>,
    /// The file that holds the client token. None: no container gets the token.
    pub(crate) token_file: Option<Destination>,
    /// Whether paths are without the `data` of KV v2, so that the agent looks up their mounts. `check::policy` finds what is allowed.
    pub(crate) mount_lookup: Option<MountLookup>,
}

impl InjectionRequest {
    /// Whether values of variables are kept in files, even if only until they are exported.
    pub(crate) fn has_variables(&self) -> bool {
        !self.env.is_empty() || !self.job_env.is_empty()
    }

    /// Whether the files are written once or refreshed.
    pub(crate) fn freshness(&self) -> Freshness {
        match self.refresh {
            Requested::Absent | Requested::Invalid => Freshness::WrittenOnce,
            Requested::Given(_) => Freshness::Refreshed,
        }
    }

    /// Whether a change restarts the containers.
    pub(crate) fn restarts(&self) -> bool {
        self.on_change.contains(&OnChange::Restart)
    }

    /// Whether variables are exported, as far as the annotations decide it.
    pub(crate) fn exports(&self) -> bool {
        self.export.given() != Some(false)
    }

    /// Whether the job reads every secret, so that `init` needs no login.
    pub(crate) fn only_job_reads(&self) -> bool {
        let has_any = !self.files.is_empty() || !self.job_env.is_empty();
        has_any && self.env.is_empty() && self.files.iter().all(FileRequest::is_for_job)
    }
}

/// Whether podkey writes the files again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// `podkey-init` writes the files once, before the containers start.
    WrittenOnce,
    /// `podkey-sidecar` refreshes the files.
    Refreshed,
}
