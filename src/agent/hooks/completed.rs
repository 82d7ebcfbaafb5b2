//! `podkey-agent job-completed`: the job's secrets are cleared, as well as that can be done. The pod ends soon after, and its
//! memory with it.

use super::Hook;
use super::clear::clear;

/// Clears, and says so.
pub(super) fn run(hook: &Hook) {
    let job = hook.job();
    match hook.plan().and_then(|it| clear(hook, &it.plan)) {
        Ok(()) => tracing::info!("{job}: the job's secret files are cleared"),
        Err(failure) => tracing::warn!(
            reason = failure.message,
            hint = failure.hint,
            "{job}: not all of the job's secret files could be cleared; they end with the pod"
        ),
    }
}
