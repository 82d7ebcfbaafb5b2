//! Informs the app that its files changed: by a signal, a touched file or an HTTP request inside the pod, as the plan says.
//! The actions run after the swap and beside the sidecar: they neither delay the refresh nor make it fail. No shell is used.

mod post;
mod signal;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::agent::volume::{ContainerPaths, touch};
use crate::plan::OnChange;

/// The plan's actions, and the actions of the last change that are still under way.
#[derive(Debug)]
pub(super) struct Actions {
    planned: Vec<OnChange>,
    paths: ContainerPaths,
    retries: Retries,
    running: JoinSet<()>,
}

/// How often an action is tried, and the pause after the first failure. The pause doubles after each further failure.
#[derive(Debug, Clone, Copy)]
struct Retries {
    tries: u32,
    pause: Duration,
}

/// Five tries within about half a minute: an app that is just starting reads the new files anyway.
const RETRIES: Retries = Retries {
    tries: 5,
    pause: Duration::from_secs(2),
};

/// Why an action failed, and what to do.
#[derive(Debug)]
struct ActionError {
    why: String,
    hint: &'static str,
}

impl ActionError {
    fn new(why: impl Into<String>, hint: &'static str) -> Self {
        Self { why: why.into(), hint }
    }
}

impl Actions {
    pub(super) fn new(planned: &[OnChange], paths: ContainerPaths) -> Self {
        // The restart is the end of the sidecar.
        let informing = planned.iter().filter(|action| **action != OnChange::Restart);
        Self {
            planned: informing.cloned().collect(),
            paths,
            retries: RETRIES,
            running: JoinSet::new(),
        }
    }

    /// Starts every action in the background, independent of the others. Actions of an earlier change that have not succeeded
    /// yet are stopped: the new actions inform the app of that change too.
    pub(super) fn run(&mut self) {
        // Dropping the earlier actions ends them.
        self.running = JoinSet::new();
        for action in &self.planned {
            let (action, paths, retries) = (action.clone(), self.paths.clone(), self.retries);
            self.running.spawn(async move {
                run_with_retries(&action, &paths, retries).await;
            });
        }
    }
}

/// Tries until the action succeeds or there is no try left, and logs the result. Returns whether the action succeeded.
async fn run_with_retries(action: &OnChange, paths: &ContainerPaths, retries: Retries) -> bool {
    let mut pause = retries.pause;
    for attempt in 1.. {
        let failed = match run_once(action, paths).await {
            Ok(outcome) => {
                tracing::info!(%action, attempt, outcome = outcome, "the app was informed of the change");
                return true;
            }
            Err(failed) => failed,
        };
        if attempt >= retries.tries {
            tracing::warn!(
                %action,
                attempts = attempt,
                reason = failed.why,
                hint = failed.hint,
                "the app was not informed of the change"
            );
            break;
        }
        tracing::debug!(%action, attempt, reason = failed.why, "the app was not informed yet, trying again");
        sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        pause *= 2;
    }
    false
}

/// Returns what was done, for the log.
async fn run_once(action: &OnChange, paths: &ContainerPaths) -> Result<String, ActionError> {
    match action {
        OnChange::Signal(signal, process) => signal::send(*signal, process),
        // Only a file with a mount of its own has an index in its place, and no such file is touched.
        OnChange::Touch(file) => match touch(paths, &file.place(0)) {
            Ok(()) => Ok("touched".into()),
            Err(error) => Err(ActionError::new(error.why, error.hint)),
        },
        OnChange::Post(url) => post::post(url).await,
        OnChange::Restart => Ok("restarted".into()),
    }
}

#[cfg(test)]
mod tests;
