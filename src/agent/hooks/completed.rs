//! `podkey-agent job-completed`: the job's secrets are cleared, as well as that can be done. The pod ends soon after, and its
//! memory with it.

use super::Hook;
use super::clear::{clear, clear_unplanned};

/// Clears, and says so.
pub(super) fn run(hook: &Hook) {
    let job = hook.job();
    let cleared = match hook.plan() {
        Ok(it) => clear(hook, &it.plan),
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
