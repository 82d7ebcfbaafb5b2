//! `on-change: restart`: the sidecar ends with a code that makes the kubelet restart all containers of the pod, `podkey-init` first,
//! which reads everything anew. All of them go on only if `podkey-init` succeeds, so the sidecar does not restart a pod whose secrets
//! cannot be read.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::{FileOrigin, Sidecar, TrackedFile};
use crate::agent::handover::boot_time;
use crate::agent::volume::{ContainerPaths, FileState, VolumeError, handover};
use crate::plan::{OnChange, Refresh};
use crate::schedule::Restarts;

/// How long the sidecar waits before it looks again whether a restart is possible.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The notes in the volume `podkey-handover`, for the sidecar after a restart. The volume is in memory, so the notes and the clock of
/// [`boot_time`], which nobody sets, end with the same run of the machine.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    /// When the containers were last restarted.
    last: Option<Duration>,
    /// A change waits for a restart.
    pending: bool,
}

/// The sidecar has noted a restart, and must end for it.
pub(super) struct RestartBegun;

/// The restarts of this pod's containers.
pub(super) struct PlannedRestarts {
    restarts: Restarts,
    paths: ContainerPaths,
    /// A restart that is due is looked at again then.
    look_again: Duration,
    /// Why a restart that is due has not happened. It is logged once.
    obstacle: Option<String>,
}

impl PlannedRestarts {
    /// None: changes do not restart the containers. `after_init`: the containers have just started with what `init` has read.
    pub(super) fn resume(paths: &ContainerPaths, refresh: &Refresh, after_init: bool) -> Option<Self> {
        if !refresh.on_change.contains(&OnChange::Restart) {
            return None;
        }
        let now = boot_time();
        let notes = read(paths).unwrap_or_else(|reason| {
            tracing::warn!(
                reason,
                "the notes about restarts cannot be used: the next restart waits for a whole pause"
            );
            Notes {
                last: Some(now),
                pending: false,
            }
        });
        let pending = notes.pending && !after_init;
        let resumed = Self {
            restarts: Restarts::new(now, refresh.interval.duration(), notes.last, pending),
            paths: paths.clone(),
            look_again: Duration::ZERO,
            obstacle: None,
        };
        if notes.pending != pending
            && let Err(failure) = resumed.write()
        {
            tracing::warn!(
                reason = failure.message,
                "the notes about restarts could not be written"
            );
        }
        Some(resumed)
    }

    /// Notes a change, before the containers can see it: a sidecar that is killed afterwards must not forget the restart.
    pub(super) fn changed(&mut self) {
        if !self.restarts.changed() {
            return;
        }
        if let Err(failure) = self.write() {
            tracing::warn!(
                reason = failure.message,
                "the notes about restarts could not be written"
            );
        }
        let wait = self.restarts.due().unwrap_or_default().saturating_sub(boot_time());
        if !wait.is_zero() {
            tracing::info!(
                wait_s = wait.as_secs(),
                pause = %humantime::format_duration(self.restarts.pause()),
                "secrets have changed: the containers restart after the pause between two restarts"
            );
        }
    }

    /// When the sidecar looks whether to restart the containers. None: nothing has changed.
    pub(super) fn wake(&self) -> Option<Duration> {
        self.restarts.due().map(|due| due.max(self.look_again))
    }

    /// Notes the restart, so that the next sidecar knows its time. Without the note there is no restart.
    fn begin(&mut self, now: Duration) -> Result<(), VolumeError> {
        let before = self.restarts;
        self.restarts.restarted(now);
        self.write().inspect_err(|_| self.restarts = before)
    }

    fn write(&self) -> Result<(), VolumeError> {
        let notes = Notes {
            last: self.restarts.last(),
            pending: self.restarts.due().is_some(),
        };
        let json = serde_json::to_vec(&notes).map_err(|_| VolumeError::new("cannot write the notes", ""))?;
        handover::write_restarts(&self.paths, &json)
    }
}

fn read(paths: &ContainerPaths) -> Result<Notes, String> {
    match handover::read_restarts(paths).map_err(|error| error.to_string())? {
        None => Ok(Notes::default()),
        Some(json) => serde_json::from_slice(json.expose()).map_err(|error| error.to_string()),
    }
}

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
        planned.look_again = now + LOOK_AGAIN;
        if planned.obstacle.as_ref() != Some(&reason) {
            tracing::warn!(
                reason,
                "secrets have changed, but the containers do not restart yet: podkey-init could not deliver all secrets"
            );
            planned.obstacle = Some(reason);
        }
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
