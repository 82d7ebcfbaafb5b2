//! `podkey-agent job-completed`: the job's secrets are cleared, as well as that can be done. The pod ends soon after, and its
//! memory with it.

use super::Hook;
use super::clear::{clear, clear_unplanned};
use crate::agent::signals::{Signals, Told};

/// Clears and logs the outcome. Gives the signal that came meanwhile, if any: clearing is not interrupted.
///
/// A runner that an entrypoint started with `./run.sh &` hands on SIGINT as ignored (POSIX, "Asynchronous Lists"). A handled
/// signal gets its default action back when the process becomes the author's hook, so that hook ends on SIGINT.
pub(super) async fn run(hook: &Hook) -> Option<Told> {
    // Where signals cannot be handled, the secrets are cleared all the same.
    let signals = Signals::handle();
    clear_and_log(hook);
    signals.ok()?.pending().await
}

fn clear_and_log(hook: &Hook) {
    let job = hook.job();
    let cleared = match hook.plan() {
        Ok(it) => {
            let cleared = clear(hook, &it.plan);
            if let (Err(failure), true) = (&cleared, it.plan.refresh.is_some()) {
                // It was asked for.
                tracing::info!("{job}: {}", failure.message);
                return;
            }
            cleared
        }
        Err(failure) => clear_unplanned(hook).and(Err(failure)),
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
