//! What the pod's author asks for, as `annotations` parsed it.

pub(crate) mod annotations;
pub(crate) mod files;
pub(crate) mod job_policy;
pub(crate) mod keys;
pub(crate) mod name;
mod requested;
pub(crate) mod variables;
pub(crate) mod yaml;
pub(crate) mod yaml_error;

use crate::inject::pod::survey::Freshness;
use crate::inject::request::files::{FileRequest, Source};
pub(crate) use crate::inject::request::requested::Requested;
use crate::plan::{ApiPath, EnvSecret, Interval, JobPolicy, Mask, OnChange, OnFailure, PathTemplate, Role};

/// The author's wishes, parsed, with nothing filled in.
#[derive(Debug, Default)]
pub(crate) struct InjectionRequest {
    pub(crate) connection: Option<String>,
    pub(crate) role: Requested<Role>,
    pub(crate) auth_mount: Option<ApiPath>,
    /// Those that `init` reads before those that the job reads; else in the author's order.
    pub(crate) files: Vec<FileRequest>,
    pub(crate) env: Vec<EnvSecret>,
    pub(crate) job_env: Vec<EnvSecret<PathTemplate>>,
    /// None: exported, by the job hooks or by the agent in front of a command.
    pub(crate) export: Requested<bool>,
    pub(crate) mask: Option<Mask>,
    /// None: on in a runner pod.
    pub(crate) job_hooks: Requested<bool>,
    pub(crate) job_policy: Option<JobPolicy>,
    /// Copies of the files are to go where a job's container sees them.
    pub(crate) job_temp: bool,
    /// None: the job's affair where there are job hooks.
    pub(crate) on_failure: Option<OnFailure>,
    /// How often the secrets are read again. None: they are not.
    pub(crate) refresh: Requested<Interval>,
    pub(crate) on_change: Vec<OnChange>,
    /// None: the default for the kind of pod.
    pub(crate) containers: Option<Vec<String>>,
    pub(crate) ignore_not_found: bool,
}

impl InjectionRequest {
    /// Whether there are values of variables to keep in files, be it until they are exported.
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

    /// Whether variables are exported, as far as the annotations decide it.
    pub(crate) fn exports(&self) -> bool {
        self.export.given() != Some(false)
    }

    /// Whether all there is to read is for the job, so that `init` needs no login.
    pub(crate) fn only_job_reads(&self) -> bool {
        let is_job = |file: &FileRequest| matches!(file.secret, Source::Job(_));
        self.env.is_empty() && self.files.iter().all(is_job) && !(self.files.is_empty() && self.job_env.is_empty())
    }
}
