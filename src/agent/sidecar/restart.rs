//! `on-change: restart`: the sidecar ends with a code that makes the kubelet restart all containers of the pod, `podkey-init` first,
//! which reads everything anew. All of them go on only if `podkey-init` succeeds, so the sidecar does not restart a pod whose secrets
//! cannot be read.

use super::planned_restarts::PlannedRestarts;
use super::state::{FileOrigin, Sidecar, TrackedFile};
use crate::agent::handover::boot_time;
use crate::agent::volume::FileState;

/// The sidecar has noted a restart, and must end for it.
pub(super) struct RestartBegun;

impl Sidecar<'_> {
    /// Whether the containers restart now: the sidecar must end.
    pub(super) fn restarts_now(&mut self) -> bool {
        let now = boot_time();
        let is_due = |planned: &PlannedRestarts| planned.wake().is_some_and(|at| at <= now);
        if !self.restarts.as_ref().is_some_and(is_due) {
            return false;
        }
        let obstacle = self.restart_obstacle();
        let Some(planned) = &mut self.restarts else {
            return false;
        };
        let obstacle = obstacle.or_else(|| planned.begin(now).err().map(|failure| failure.message));
        let Some(reason) = obstacle else {
            return true;
        };
        planned.put_off(now, reason);
        false
    }

    /// Why `podkey-init` would not succeed now. None: it would, as far as the sidecar knows.
    fn restart_obstacle(&self) -> Option<String> {
        if let Some(reason) = self.failures.any() {
            return Some(reason.clone());
        }
        if self.write_again.is_some() {
            return Some("the files could not be changed".to_owned());
        }
        let missed = self.files.values().find(|file| self.would_fail_init(file))?;
        let unknown = || format!("{} cannot be delivered", missed.secret);
        Some(missed.reason.clone().unwrap_or_else(unknown))
    }

    fn would_fail_init(&self, file: &TrackedFile) -> bool {
        match file.state {
            FileState::Fresh => false,
            FileState::Gone if self.is_missing(file.origin) => !self.plan.ignore_not_found,
            // Without this field `init` delivers the other fields.
            FileState::Gone if file.origin.has_changing_names(&self.order) => {
                let mut others = self.files.values().filter(|other| other.origin == file.origin);
                others.all(|other| other.state != FileState::Fresh)
            }
            _ => true,
        }
    }

    /// Whether the server has no such secret.
    fn is_missing(&self, origin: FileOrigin) -> bool {
        let wanted = origin.wanted(&self.order);
        let mut secrets = self.secrets.iter().filter(|secret| wanted.contains(&secret.wanted));
        secrets.any(|secret| secret.reason.is_some())
    }
}
