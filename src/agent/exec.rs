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
use super::report::{Code, Failure};
use crate::http::clean;
use crate::plan::{BIN_DIR, ENV_DIR, EnvName, MAX_RENDERED_BYTES, SECRETS_DIR};
use crate::secret::Secret;

/// The longest `NAME=value` with its final NUL (`MAX_ARG_STRLEN`, execve(2)).
const MAX_STRING: usize = 128 * 1024;

/// Becomes the command. Returns only where that cannot be.
pub(super) fn run(command: &[OsString], root: Option<&Path>) -> Failure {
    let variables = match variables(root) {
        Ok(variables) => variables,
        Err(failure) => return failure,
    };
    let Some((program, arguments)) = command.split_first() else {
        return Failure::new(Code::BadPlan, "there is no command to start", "");
    };
    let values = variables
        .iter()
        .map(|(name, value)| (name.as_str(), OsStr::from_bytes(value.expose())));
    let error = Command::new(program).args(arguments).envs(values).exec();
    let hint = match error.raw_os_error() == Some(rustix::io::Errno::TOOBIG.raw_os_error()) {
        true => "its arguments and its environment are too large together: deliver large values with podkey.dev/files",
        false => "correct `command` in the container's spec",
    };
    let program = clean(&program.to_string_lossy(), 256);
    Failure::new(
        Code::BadPlan,
        format!("the command {program} cannot be started: {error}"),
        hint,
    )
}

/// Every variable that `init` says it delivered.
fn variables(root: Option<&Path>) -> Result<Vec<(EnvName, Secret)>, Failure> {
    let bad = |what: String, hint: &str| Failure::new(Code::BadPlan, what, hint);
    let file = format!("{BIN_DIR}/{OUTCOME}");
    let Outcome::Delivered(manifest) = outcome::read(&below(root, &file)).map_err(|why| {
        bad(
            format!("{file}: {why}, so nothing says which variables the command is to have"),
            "podkey-init writes it when all is delivered: look at its log, and let the pod be made anew",
        )
    })?
    else {
        return Err(bad(format!("{file}: podkey-init delivered nothing"), "look at its log"));
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
                .map_err(|why| bad(format!("the variable {}: {why}", clean(name, 64)), ""))?;
            let file = format!("{SECRETS_DIR}/{ENV_DIR}/{name}");
            let value = files::read(&directory.join(name.as_str()), MAX_RENDERED_BYTES).map_err(|error| {
                bad(
                    format!("the value of {name} cannot be read from {file}: {error}"),
                    "declare the container's runAsUser, so that podkey-init writes for that user",
                )
            })?;
            let value = value.ok_or_else(|| {
                bad(
                    format!("the value of {name} is gone: there is no file {file}"),
                    "podkey-init delivered it: nothing else may mount or change podkey-secrets; let the pod be made anew",
                )
            })?;
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
        Code::BadData,
        format!("the value of {name} {why}"),
        "deliver it with podkey.dev/files",
    ))
}
