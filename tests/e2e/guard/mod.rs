//! The guard (`guard.enabled`): no pod that asks for secrets starts without podkey's parts, and no other pod is held up.

mod cases;
mod release;

use crate::harness::api::Answer;

/// Part of the guard's words.
const REFUSED: &str = "podkey has not injected the pod";

/// Whether the guard refused the pod, so that the pod's controller tries again.
fn is_refusal(answer: &Answer) -> bool {
    answer.status == 413 && answer.message().contains(REFUSED)
}
