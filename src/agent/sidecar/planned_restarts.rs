//! The restarts of the pod's containers that the sidecar has planned and made, with notes for the sidecar after a restart.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::handover::boot_time;
use crate::agent::volume::{ContainerPaths, VolumeError, handover};
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
    /// The sidecar ended for a restart. `podkey-init` comes next, unless the kubelet restarts the sidecar alone.
    #[serde(default)]
    begun: bool,
}

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
                ..Notes::default()
            }
        });
        if notes.begun && !after_init {
            tracing::error!(
                "the containers did not restart for the changed secrets: the kubelet restarted podkey-sidecar alone, so this node cannot \
                 restart all containers of a pod in place (feature gate RestartAllContainersOnContainerExits)"
            );
        }
        let pending = (notes.pending || notes.begun) && !after_init;
        let resumed = Self {
            restarts: Restarts::new(now, refresh.interval.duration(), notes.last, pending),
            paths: paths.clone(),
            look_again: Duration::ZERO,
            obstacle: None,
        };
        if (notes.pending, notes.begun) != (pending, false)
            && let Err(failure) = resumed.write(false)
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
        if let Err(failure) = self.write(false) {
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
    pub(super) fn begin(&mut self, now: Duration) -> Result<(), VolumeError> {
        let before = self.restarts;
        self.restarts.restarted(now);
        self.write(true).inspect_err(|_| self.restarts = before)
    }

    /// Looks at a restart that is due again later, and logs why it has not happened, once.
    pub(super) fn put_off(&mut self, now: Duration, reason: String) {
        self.look_again = now + LOOK_AGAIN;
        if self.obstacle.as_ref() != Some(&reason) {
            tracing::warn!(
                reason,
                "secrets have changed, but the containers do not restart yet: podkey tries again"
            );
            self.obstacle = Some(reason);
        }
    }

    /// `begun`: the sidecar ends for a restart.
    fn write(&self, begun: bool) -> Result<(), VolumeError> {
        let notes = Notes {
            last: self.restarts.last(),
            pending: self.restarts.due().is_some(),
            begun,
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
