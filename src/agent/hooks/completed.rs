//! `podkey-agent job-completed`: clears the job's secrets as far as possible. The pod ends soon after, and the memory of its
//! volumes with it.

use super::Hook;
use super::clear::{clear, clear_unplanned};
use crate::agent::report::Failure;
use crate::agent::signals::{Signals, StopSignal};

/// Clears and logs the outcome. Returns the signal that came meanwhile, if any: a signal does not interrupt the clearing.
///
/// A runner that an entrypoint starts with `./run.sh &` passes SIGINT on as ignored (POSIX, "Asynchronous Lists"). A signal
/// with a handler gets its default action back when the process becomes the author's hook, so that hook ends on SIGINT.
pub(super) async fn run(hook: &Hook) -> Option<StopSignal> {
    // Where signals cannot be handled, the secrets are cleared all the same.
    let signals = Signals::handle();
    clear_and_log(hook);
    signals.ok()?.pending().await
}

fn clear_and_log(hook: &Hook) {
    let job = hook.sender(&hook.facts(None), None);
    let cleared = match hook.plan() {
        Ok(it) => {
            let cleared = clear(hook, &it.plan).map_err(Failure::from);
            if let (Err(failure), true) = (&cleared, it.plan.refresh.is_some()) {
                // No warning: the pod's author asked for it.
                tracing::info!("{job}: {}", failure.message);
                return;
            }
            cleared
        }
        Err(failure) => clear_unplanned(hook).map_err(Failure::from).and(Err(failure)),
    };
    match cleared {
        Ok(()) => tracing::info!("{job}: the job's secret files are cleared"),
        Err(failure) => tracing::warn!(
            reason = failure.message,
            hint = failure.hint,
            "{job}: not all of the job's secret files could be cleared; they end with the pod"
        ),
    }
}
