//! `podkey-agent exec -- COMMAND…`: becomes the container's own command, with the delivered variables in the environment.
//! The same process executes the command, so signals and the exit code are those of the command. Without every variable the
//! command is not started.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::report::{Failure, ReportedOutcome, SetupFault};
use super::volume::outcome::{self, DeliveredAs};
use super::volume::{ContainerPaths, SeenFiles, env};
use crate::http::clean;
use crate::plan::{EnvName, ExitCode};
use crate::secret::Secret;

/// The longest `NAME=value` with the final NUL (`MAX_ARG_STRLEN`, execve(2)).
const MAX_STRING: usize = 128 * 1024;

/// Becomes the command. Returns only if that fails.
pub(super) fn run(command: &[OsString], paths: &ContainerPaths) -> Failure {
    let variables = match variables(paths) {
        Ok(variables) => variables,
        Err(failure) => return failure,
    };
    let Some((program, arguments)) = command.split_first() else {
        return SetupFault::CommandLine("there is no command to start").into();
    };
    let values = variables
        .iter()
        .map(|(name, value)| (name.as_str(), OsStr::from_bytes(value.expose())));
    let error = Command::new(program).args(arguments).envs(values).exec();
    let program = clean(&program.to_string_lossy(), 256);
    SetupFault::Command { program, error }.into()
}

/// Every variable that `init` reports as delivered.
fn variables(paths: &ContainerPaths) -> Result<Vec<(EnvName, Secret)>, Failure> {
    let outcome: ReportedOutcome = outcome::read(paths).map_err(|why| SetupFault::Outcome {
        path: outcome::path(paths),
        why,
        unknown: "which variables the command needs",
    })?;
    let ReportedOutcome::Delivered(manifest) = outcome else {
        return Err(SetupFault::NothingDelivered(outcome::path(paths)).into());
    };
    let seen = SeenFiles::new(paths.clone());
    let names = manifest.delivered.iter().filter_map(|delivered| match &delivered.to {
        DeliveredAs::Env(name) => Some(name),
        DeliveredAs::File(_) => None,
    });
    names
        .map(|name| {
            let name: EnvName = name.parse().map_err(|why| SetupFault::variable_name(name, &why))?;
            let value = match env::read(&seen, &name) {
                Ok(Some(value)) => value,
                Ok(None) => return Err(SetupFault::VariableMissing(name).into()),
                Err(error) => return Err(SetupFault::VariableUnreadable { name, error }.into()),
            };
            check(&name, &value)?;
            Ok((name, value))
        })
        .collect()
}

/// Refuses a value that the kernel does not take as part of an environment.
pub(super) fn check(name: &EnvName, value: &Secret) -> Result<(), Failure> {
    let why = if value.expose().contains(&0) {
        "has a NUL byte, which no variable can hold".to_owned()
    } else if name.as_str().len() + value.len() + 2 > MAX_STRING {
        format!(
            "has {} bytes, and a variable holds no more than {} KiB",
            value.len(),
            MAX_STRING >> 10
        )
    } else {
        return Ok(());
    };
    Err(Failure::new(
        ExitCode::BadData,
        format!("the value of {name} {why}"),
        "deliver the value with podkey.dev/files",
    ))
}
