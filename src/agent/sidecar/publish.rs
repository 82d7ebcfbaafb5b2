//! Shows the containers all changes at once, informs the app, and updates the outcome that job hooks and `exec` read.

use super::failures::QUIET;
use super::state::{FileOrigin, Sidecar};
use crate::agent::handover::boot_time;
use crate::agent::report::ReportedOutcome;
use crate::agent::token_file;
use crate::agent::volume::outcome::{self, DeliveredAs, DeliveredItem, Manifest};
use crate::agent::volume::{FileState, env, path_of, printed};
use crate::vault::bound_pod;

impl Sidecar<'_> {
    /// Shows every change, if there is one, and starts the `on-change` actions.
    pub(super) fn publish(&mut self) {
        self.settle();
        self.write_again = None;
        if !self.shown.has_changes() && !self.kubelet_file.is_outdated {
            return;
        }
        if self.shown.has_changes()
            && let Some(restarts) = &mut self.restarts
        {
            restarts.changed();
        }
        let swapped = self.shown.swap();
        if let Some(failure) = &swapped.failure {
            self.write_again = Some(boot_time() + QUIET);
            let what = "the files could not be changed";
            self.failures.warn(what, &failure.message, &failure.hint);
        }
        let changed = self.update_kubelet_file(swapped.changed);
        if changed.is_empty() {
            return;
        }
        for name in &changed {
            self.log_change(name);
        }
        // The names of fields and of variables may never come again.
        let (shown, order) = (&self.shown, &self.order);
        self.files.retain(|name, file| {
            let has_lasting_name = match file.origin {
                FileOrigin::File(index) => index < order.files.len() && !file.origin.is_each_field(order),
                FileOrigin::Variable(_) => false,
            };
            shown.has(name) || has_lasting_name
        });
        self.write_outcome();
        // As in vault-k8s, the actions are about secrets.
        let token_file = self.plan.token_file.as_ref().map(token_file::shown);
        if changed.iter().any(|name| Some(name) != token_file.as_ref()) {
            self.actions.run();
        }
    }

    fn log_change(&mut self, name: &str) {
        let Some(file) = self.files.get_mut(name) else {
            return;
        };
        let old_version = std::mem::replace(&mut file.version, file.next_version);
        if printed::number(name).is_some() {
            return;
        }
        tracing::info!(
            file = name,
            secret = file.secret,
            old_version,
            version = file.version,
            "{}",
            match (self.shown.has(name), file.state) {
                (false, _) => "file removed: its secret is gone",
                (true, FileState::Gone) => "file emptied: its secret is gone",
                (true, _) => "file changed",
            }
        );
    }

    /// Writes the outcome: the files and variables that are delivered now.
    pub(super) fn write_outcome(&mut self) {
        if !self.plan.exec && self.plan.job.is_none() {
            return;
        }
        let usable = self
            .files
            .iter()
            .filter(|(name, _)| self.shown.has(name) && !self.shown.is_closed(name) && printed::number(name).is_none());
        let delivered = usable.map(|(name, file)| DeliveredItem {
            to: match (file.origin, env::variable(name)) {
                (FileOrigin::Variable(_), Some(variable)) => DeliveredAs::Env(variable.to_owned()),
                _ => DeliveredAs::File(path_of(name)),
            },
            secret: file.secret.clone(),
            version: file.version,
        });
        let accessor = self.current_session().map(|session| session.accessor.clone());
        let manifest = Manifest {
            accessor: accessor.unwrap_or_default(),
            pod: bound_pod(&self.runtime.paths.token_file()),
            delivered: delivered.collect(),
            leases: Vec::new(),
        };
        if let Err(failure) = outcome::write(
            &self.runtime.paths,
            self.plan.binary,
            &ReportedOutcome::Delivered(manifest),
        ) {
            let what = "the outcome for job hooks and commands could not be written";
            self.failures.warn(what, &failure.message, &failure.hint);
        }
    }
}
