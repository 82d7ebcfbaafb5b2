//! `podkey-agent exec -- COMMAND…`: becomes the container's own command, with the variables that `init` delivered in its
//! environment. The command is really executed, by the same process, so its signals and its exit code are its own. Without
//! every one of the variables it is not started.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::below;
use super::files;
use super::outcome::{self, OUTCOME, Outcome, Target};
use super::report::{Failure, SetupFault};
use crate::plan::{BIN_DIR, ENV_DIR, EnvName, ExitCode, MAX_RENDERED_BYTES, SECRETS_DIR};
use crate::secret::Secret;
use crate::vault::clean;

/// The longest `NAME=value` with its final NUL (`MAX_ARG_STRLEN`, execve(2)).
const MAX_STRING: usize = 128 * 1024;

/// Becomes the command. Returns only where that cannot be.
pub(super) fn run(command: &[OsString], root: Option<&Path>) -> Failure {
    let variables = match variables(root) {
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

/// Every variable that `init` says it delivered.
fn variables(root: Option<&Path>) -> Result<Vec<(EnvName, Secret)>, Failure> {
    let file = format!("{BIN_DIR}/{OUTCOME}");
    let Outcome::Delivered(manifest) = outcome::read(&below(root, &file)).map_err(|why| SetupFault::Outcome {
        why,
        unknown: "which variables the command needs",
    })?
    else {
        return Err(SetupFault::NothingDelivered.into());
    };
    let names = manifest.delivered.iter().filter_map(|delivered| match &delivered.to {
        Target::Env(name) => Some(name),
        Target::File(_) => None,
    });
    // All of one moment: a sidecar may change them meanwhile.
    let directory = files::current(&below(root, SECRETS_DIR)).join(ENV_DIR);
    names
        .map(|name| {
            let name: EnvName = name
                .parse()
                .map_err(|why: crate::plan::Invalid| SetupFault::VariableName {
                    name: clean(name, 64),
                    why: why.to_string(),
                })?;
            let value = match files::read(&directory.join(name.as_str()), MAX_RENDERED_BYTES) {
                Ok(Some(value)) => value,
                Ok(None) => return Err(SetupFault::VariableMissing(name).into()),
                Err(error) => return Err(SetupFault::VariableUnreadable { name, error }.into()),
            };
            check(&name, &value)?;
            Ok((name, value))
        })
        .collect()
}

/// Whether the kernel takes it as part of an environment.
pub(super) fn check(name: &EnvName, value: &Secret) -> Result<(), Failure> {
    let why = if value.expose().contains(&0) {
        "has a NUL byte, which no variable can hold".to_owned()
    } else if name.as_str().len() + value.len() + 2 > MAX_STRING {
        format!("has {} bytes, and a variable holds no more than 128 KiB", value.len())
    } else {
        return Ok(());
    };
    Err(Failure::new(
        ExitCode::BadData,
        format!("the value of {name} {why}"),
        "deliver it with podkey.dev/files",
    ))
}
