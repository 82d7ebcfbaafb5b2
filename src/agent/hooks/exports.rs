//! The job's environment: delivered variables, the job's own variables, and the variables that name copies of files.

use std::collections::BTreeMap;

use super::{Hook, HookPlan};
use crate::agent::delivery::RenderedVariable;
use crate::agent::report::Failure;
use crate::agent::volume::env;
use crate::agent::volume::outcome::{DeliveredAs, DeliveredItem};
use crate::http::clean;
use crate::job::export::{EnvFile, ExportError};
use crate::plan::{ENV_DIR, EnvName, ExitCode};
use crate::secret::Secret;

/// The variables that a job may get.
pub(super) struct JobVariables<'a> {
    /// Variables that name the copies of files. They are always exported: each step finds the copies, where another variable
    /// would have named the file itself.
    pub copies: Vec<RenderedVariable>,
    /// The values of all variables in the volume.
    pub present: &'a BTreeMap<String, Secret>,
    /// The variables that the job read itself.
    pub own: Vec<RenderedVariable>,
}

/// Returns the text for the file that `GITHUB_ENV` names. Variables that are not to be exported become files: the job's own
/// variables beside those of `init`.
pub(super) fn exports(
    hook: &Hook,
    it: &HookPlan,
    variables: &JobVariables<'_>,
    delivered: &[DeliveredItem],
) -> Result<Secret, Failure> {
    let JobVariables { copies, present, own } = variables;
    if let Some(twice) = own.iter().find(|variable| present.contains_key(variable.name.as_str())) {
        let name = &twice.name;
        return Err(Failure::new(
            ExitCode::BadData,
            format!("the variable {name} is made twice: by podkey.dev/env and by podkey.dev/job-env"),
            "give one of the variables another name",
        ));
    }
    let mut exported = EnvFile::new(random);
    export(&mut exported, copies)?;
    if !it.job.export {
        write_files(hook, it, own)?;
        return Ok(exported.into_text());
    }
    // Only variables that `init` reports as delivered. Other files in the directory are masked and not exported.
    let is_delivered = |name: &&String| {
        delivered
            .iter()
            .any(|item| matches!(&item.to, DeliveredAs::Env(env) if env == *name))
    };
    for name in present.keys().filter(is_delivered) {
        let value = &present[name];
        let name: EnvName = name.parse().map_err(|why| {
            let message = format!("the variable {}: {why}", clean(name, 64));
            Failure::new(ExitCode::BadData, message, "")
        })?;
        exported.push(&name, value).map_err(|error| refused(&error))?;
    }
    export(&mut exported, own)?;
    if !present.is_empty() && it.plan.refresh.is_none() {
        // Every step has the variables in its environment: the files are not needed any more.
        hook.seen.stage()?.remove_all(ENV_DIR)?;
    }
    Ok(exported.into_text())
}

fn export<R: FnMut() -> u128>(exported: &mut EnvFile<R>, variables: &[RenderedVariable]) -> Result<(), Failure> {
    for RenderedVariable { name, value } in variables {
        exported.push(name, value).map_err(|error| refused(&error))?;
    }
    Ok(())
}

fn refused(error: &ExportError) -> Failure {
    Failure::new(ExitCode::BadData, error.to_string(), "")
}

/// Writes the job's own variables as files.
fn write_files(hook: &Hook, it: &HookPlan, own: &[RenderedVariable]) -> Result<(), Failure> {
    if own.is_empty() {
        return Ok(());
    }
    let mut staged = hook.seen.stage()?;
    for RenderedVariable { name, value } in own {
        let place = env::shown(name.as_str());
        staged.stage_from(&place, it.plan.env_mode.bits(), &mut value.expose())?;
    }
    staged.publish()?;
    Ok(())
}

/// A number that nobody can foresee.
fn random() -> u128 {
    let mut bytes = [0; 16];
    // The kernel's generator does not fail on a running machine. If it did, the delimiter could be foreseen, but it is still
    // compared with the value.
    let _ = rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes);
    u128::from_ne_bytes(bytes)
}
