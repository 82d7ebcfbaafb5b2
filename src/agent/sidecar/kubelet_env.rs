//! Keeps the kubelet's file of variables up to date: a container that starts again gets the new values.

use super::failures::QUIET;
use super::state::{KubeletFile, Sidecar};
use crate::agent::handover::boot_time;
use crate::agent::kubelet_env::render;
use crate::agent::report::Failure;
use crate::agent::volume::{env, kubelet_env};

impl Sidecar<'_> {
    /// Writes the kubelet's file, if values changed. `changed` are the shown names of what the containers see changed. Returns those
    /// that have arrived everywhere: a variable has changed when the kubelet's file has changed.
    pub(super) fn update_kubelet_file(&mut self, changed: Vec<String>) -> Vec<String> {
        if !self.plan.kubelet_env {
            return changed;
        }
        let (variables, mut arrived): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|name| env::variable(name).is_some());
        let file = &mut self.kubelet_file;
        file.is_outdated |= !variables.is_empty();
        file.changed.extend(variables);
        if !file.is_outdated {
            return arrived;
        }
        match self.write_kubelet_file() {
            Ok(()) => {
                let KubeletFile { changed, .. } = std::mem::take(&mut self.kubelet_file);
                arrived.extend(changed);
            }
            Err(failure) => {
                self.write_again = Some(boot_time() + QUIET);
                let what = "the kubelet's file of variables could not be changed";
                self.failures.warn(what, &failure.message, &failure.hint);
            }
        }
        arrived
    }

    fn write_kubelet_file(&self) -> Result<(), Failure> {
        let names = self.shown.names().filter(|name| env::variable(name).is_some());
        let values: Vec<_> = names
            .filter_map(|name| {
                let value = self.shown.read(&name)?;
                Some((name, value))
            })
            .collect();
        let variables = values
            .iter()
            .filter_map(|(name, value)| Some((env::variable(name)?, value)));
        kubelet_env::write(&self.runtime.paths, &render(variables)?)?;
        Ok(())
    }
}
