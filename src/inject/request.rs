//! What the pod's author asks for, as `annotations` parsed it.

use super::files::{FileRequest, Source};
use super::parts::Delivery;
use crate::plan::{ApiPath, EnvSecret, Interval, JobPolicy, Mask, OnChange, OnFailure, PathTemplate, Role};

/// The author's wishes, parsed, with nothing filled in.
#[derive(Debug, Default)]
pub(super) struct InjectionRequest {
    pub(super) connection: Option<String>,
    pub(super) role: Option<Role>,
    pub(super) auth_mount: Option<ApiPath>,
    /// Those that `init` reads before those that the job reads; else in the author's order.
    pub(super) files: Vec<FileRequest>,
    pub(super) env: Vec<EnvSecret>,
    pub(super) job_env: Vec<EnvSecret<PathTemplate>>,
    /// None: exported, by the job hooks or by the agent in front of a command.
    pub(super) export: Option<bool>,
    pub(super) mask: Option<Mask>,
    /// None: on in a runner pod.
    pub(super) job_hooks: Option<bool>,
    pub(super) job_policy: Option<JobPolicy>,
    /// Copies of the files are to go where a job's container sees them.
    pub(super) job_temp: bool,
    /// None: the job's affair where there are job hooks.
    pub(super) on_failure: Option<OnFailure>,
    /// How often the secrets are read again. None: they are not.
    pub(super) refresh: Option<Interval>,
    pub(super) on_change: Vec<OnChange>,
    /// None: the default for the kind of pod.
    pub(super) containers: Option<Vec<String>>,
    pub(super) ignore_not_found: bool,
}

impl InjectionRequest {
    /// Whether there are values of variables to keep in files, be it until they are exported.
    pub(super) fn has_variables(&self) -> bool {
        !self.env.is_empty() || !self.job_env.is_empty()
    }

    /// For how long podkey cares for the files.
    pub(super) fn delivery(&self) -> Delivery {
        match self.refresh {
            None => Delivery::Once,
            Some(_) => Delivery::Refreshed,
        }
    }

    /// Whether all there is to read is for the job, so that `init` needs no login.
    pub(super) fn only_job_reads(&self) -> bool {
        let is_job = |file: &FileRequest| matches!(file.secret, Source::Job(_));
        self.env.is_empty() && self.files.iter().all(is_job) && !(self.files.is_empty() && self.job_env.is_empty())
    }
}
