//! Writes what `init` delivers, in the layout of files that are written once or of files that the sidecar refreshes.

use tokio::task::yield_now;

use super::InitProgress;
use super::read::InitRead;
use super::take_back::leave_no_secret;
use crate::agent::Runtime;
use crate::agent::process::Stopwatch;
use crate::agent::report::{Failure, ReportedOutcome, RunStage};
use crate::agent::token_file;
use crate::agent::volume::outcome::{self, Manifest};
use crate::agent::volume::{PrintedValues, RenderedFile, VolumeError, bin, env, kubelet_env, once};
use crate::plan::Plan;
use crate::vault::bound_pod;

/// Writes every file, reports the delivery in the volume `podkey-bin`, and hands over to the sidecar. Returns what to report.
pub(super) async fn write(
    plan: &Plan,
    runtime: &Runtime,
    progress: &InitProgress,
    InitRead {
        mut rendered,
        kubelet_file,
        share,
    }: InitRead,
) -> Result<String, Failure> {
    progress.stage.set(RunStage::Write);
    let watch = Stopwatch::start();
    let (files, variables) = (rendered.files.len(), rendered.variables.len());
    let mut all_files = std::mem::take(&mut rendered.files);
    // The sidecar compares new values with these.
    let needs_values = plan.has_variable_files() || share.is_some();
    let values = rendered.variables.iter().filter(|_| needs_values);
    all_files.extend(values.map(|variable| env::rendered(&variable.name, &variable.value, plan.env_mode)));
    all_files.extend(rendered.printed.iter().map(PrintedValues::rendered));
    let token = plan.token_file.as_ref().zip(progress.session.get());
    all_files.extend(token.map(|(file, session)| token_file::rendered(file, session)));
    // A delivery that cannot be reported does not count: then no secret is to stay, whoever fails.
    let take_back = |failure: Failure| {
        let _ = leave_no_secret(plan, runtime);
        failure
    };
    match &share {
        Some(share) => {
            fill_bin(plan, runtime)?;
            share.publish(plan, &runtime.paths, all_files, &rendered)?;
            // The sidecar renews the leases.
            rendered.leases.clear();
        }
        None => write_once(plan, runtime, &all_files).await?,
    }
    if let Some(file) = &kubelet_file {
        kubelet_env::write(&runtime.paths, file).map_err(|error| take_back(error.into()))?;
    }
    if needs_bin(plan) {
        let accessor = progress.session.get().map(|session| session.accessor.clone());
        let manifest = Manifest {
            accessor: accessor.unwrap_or_default(),
            pod: bound_pod(&runtime.paths.token_file()),
            delivered: std::mem::take(&mut rendered.delivered),
            leases: std::mem::take(&mut rendered.leases),
        };
        let outcome = ReportedOutcome::Delivered(manifest);
        outcome::write(&runtime.paths, plan.binary, &outcome).map_err(|error| take_back(error.into()))?;
    }
    match (share, progress.session.get()) {
        (Some(share), Some(session)) => {
            share
                .hand_over(session, &runtime.paths)
                .map_err(|error| take_back(error.into()))?;
            progress.token_kept.set(Some("the sidecar has the token"));
        }
        _ if token.is_some() => {
            progress.token_kept.set(Some("the containers have the token"));
        }
        _ if rendered.bound_to_token => {
            let why = "a delivered secret lives no longer than the token";
            progress.token_kept.set(Some(why));
        }
        _ => {}
    }
    tracing::info!(files, variables, took_ms = watch.ms(), "written");
    let parts = [
        Some(counted(files, "file")),
        (variables > 0).then(|| counted(variables, "variable")),
        token.map(|_| "the client token".to_owned()),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    Ok(format!("delivered {}", parts.join(" and ")))
}

/// Writes the files and fills the volume `podkey-bin`: the files get their names last.
async fn write_once(plan: &Plan, runtime: &Runtime, files: &[RenderedFile]) -> Result<(), Failure> {
    if !plan.has_files() {
        return Ok(());
    }
    let mut staged = once::stage(&runtime.paths, plan)?;
    for file in files {
        staged.stage(file)?;
        // A signal is noticed here. Dropping `staged` then removes what was written.
        yield_now().await;
    }
    for (file, place) in plan.placed_job_files() {
        if let Some(closed) = once::closed(&file.file, place) {
            staged.stage(&closed)?;
        }
    }
    fill_bin(plan, runtime)?;
    staged.publish()?;
    Ok(())
}

/// Whether the pod has job hooks or commands that `exec` starts.
fn needs_bin(plan: &Plan) -> bool {
    plan.exec || plan.job.is_some()
}

fn fill_bin(plan: &Plan, runtime: &Runtime) -> Result<(), VolumeError> {
    match needs_bin(plan) {
        true => bin::fill(&runtime.paths, plan.binary, hooks_plan(plan, runtime)),
        false => Ok(()),
    }
}

/// The text of the plan, if job hooks read it.
pub(super) fn hooks_plan<'r>(plan: &Plan, runtime: &'r Runtime) -> Option<&'r str> {
    plan.job.as_ref()?;
    runtime.plan_text()
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
