//! Variables that the kubelet puts into containers: `render` refuses a value that the kubelet cannot read back, and this file says so
//! to the pod's author.

use super::report::Failure;
use crate::plan::{EnvName, ExitCode};
use crate::render::kubelet_env::{self, KubeletEnvError};
use crate::secret::Secret;

/// The content of the kubelet's file.
pub(super) fn render<'a>(variables: impl IntoIterator<Item = (&'a str, &'a Secret)>) -> Result<Secret, Failure> {
    kubelet_env::render(variables).map_err(|(name, error)| failure(name, error))
}

/// Refuses a value that the kubelet cannot set.
pub(super) fn check(name: &EnvName, value: &Secret) -> Result<(), Failure> {
    kubelet_env::check(value).map_err(|error| failure(name.as_str(), error))
}

fn failure(name: &str, error: KubeletEnvError) -> Failure {
    let hint = match error {
        KubeletEnvError::FileTooLong(_) => "deliver fewer or smaller variables, or use podkey.dev/files",
        KubeletEnvError::Nul | KubeletEnvError::NotText => "deliver the value with podkey.dev/files",
        _ => {
            "write the container's `command` and podkey.dev/env-delivery: exec, which sets any text, or deliver the value with \
             podkey.dev/files"
        }
    };
    Failure::new(ExitCode::BadData, format!("the value of {name} {error}"), hint)
}
