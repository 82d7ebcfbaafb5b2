//! What ARC says of a runner: the object `EphemeralRunner`, which has the name of its pod
//! (<https://github.com/actions/actions-runner-controller/blob/master/apis/actions.github.com/v1alpha1/ephemeralrunner_types.go>).

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::text::clean;
use super::{Init, Job, Row, RunnerJob};

/// The kind, in owner references and in rows.
const KIND: &str = "EphemeralRunner";

/// An `EphemeralRunner`, as far as podkey reads it.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli::status) struct RunnerObject {
    pub(in crate::cli::status) metadata: ObjectMeta,
    #[serde(default)]
    status: RunnerStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RunnerStatus {
    phase: String,
    message: String,
    job_repository_name: String,
    job_workflow_ref: String,
    job_display_name: String,
    workflow_run_id: i64,
}

/// The job of a pod. None: the pod is no runner.
pub(in crate::cli::status) fn job(pod: &Pod, runners: &[RunnerObject]) -> Option<Job> {
    let owners = pod.metadata.owner_references.as_ref()?;
    let owner = owners
        .iter()
        .find(|owner| owner.kind == KIND && owner.api_version.starts_with("actions.github.com/"))?;
    let runner = runners
        .iter()
        .find(|runner| runner.metadata.uid.as_deref() == Some(&owner.uid));
    Some(match runner.map(|runner| &runner.status) {
        None => Job::Unknown,
        Some(status) if status.job_repository_name.is_empty() => Job::Idle,
        Some(status) => Job::Known(RunnerJob {
            repository: clean(&status.job_repository_name),
            run: status.workflow_run_id,
            workflow: clean(&status.job_workflow_ref),
            name: clean(&status.job_display_name),
        }),
    })
}

/// The row of a runner whose pod podkey refuses. None: the runner has not failed, or has failed for another reason.
pub(in crate::cli::status) fn refused_runner(runner: &RunnerObject) -> Option<Row> {
    if runner.status.phase != "Failed" {
        return None;
    }
    let why = super::refused::refused_by_podkey(&runner.status.message)?;
    let meta = &runner.metadata;
    let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
    let mut row = Row::new(
        namespace.unwrap_or_default(),
        KIND,
        name.unwrap_or_default(),
        Init::bad("refused"),
    );
    row.created = meta.creation_timestamp.as_ref().map(|time| time.0);
    (row.since, row.why) = (row.created, Some(why));
    Some(row)
}
