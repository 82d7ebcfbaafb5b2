//! A run of `init` that failed: who reports the failure, the init container or the job hook, and how no secret stays.

use super::take_back::leave_no_secret;
use super::write::hooks_plan;
use crate::agent::report::{Failure, ReportedOutcome, RunReport, RunStage};
use crate::agent::volume::{VolumeError, bin, outcome};
use crate::agent::{RunEnd, Runtime};
use crate::plan::{ExitCode, OnFailure, Plan};

/// Ends the run. A failure that the job hook reports becomes a success that mentions the failure, or a failure to write.
pub(super) fn end(plan: &Plan, runtime: &Runtime, stage: RunStage, outcome: Result<String, Failure>) -> RunEnd {
    let connection = Some(plan.connection.name.clone());
    let failure = match outcome {
        Err(failure) if is_left_to_the_job(plan, &failure) => failure,
        outcome => return (stage, connection, outcome),
    };
    let report = RunReport::new(stage, connection.as_deref(), &Err(failure.clone()));
    let text = report.text();
    match leave_to_the_job(plan, runtime, report) {
        Ok(()) => {
            tracing::error!(
                code = failure.code.number(),
                stage = stage.name(),
                reason = failure.message,
                hint = failure.hint,
                "no secret was delivered: the job will fail"
            );
            (stage, connection, Ok(format!("left to the job hook: {text}")))
        }
        Err(error) => {
            let message = format!(
                "{}, and the failure could not be left to the job hook: {}",
                failure.message, error.message
            );
            let failure = Failure::new(ExitCode::CannotWrite, message, error.hint);
            (RunStage::Write, connection, Err(failure))
        }
    }
}

/// Whether the job hook reports this failure, and the pod starts.
fn is_left_to_the_job(plan: &Plan, failure: &Failure) -> bool {
    let fails_job = plan
        .job
        .as_ref()
        .is_some_and(|job| job.on_failure == OnFailure::FailJob);
    // After a signal nobody waits for the pod.
    fails_job && failure.code != ExitCode::Terminated
}

/// Leaves no secret, and leaves the report for the hook before the job.
fn leave_to_the_job(plan: &Plan, runtime: &Runtime, report: RunReport) -> Result<(), VolumeError> {
    leave_no_secret(plan, runtime)?;
    bin::fill(&runtime.paths, plan.binary, hooks_plan(plan, runtime))?;
    outcome::write(&runtime.paths, plan.binary, &ReportedOutcome::Failed(report))
}
