//! Takes back a delivery that failed, so that no secret stays in the pod.

use super::refreshed;
use crate::agent::Runtime;
use crate::agent::volume::{VolumeError, once};
use crate::plan::Plan;

/// Takes back what was delivered.
pub(super) fn leave_no_secret(plan: &Plan, runtime: &Runtime) -> Result<(), VolumeError> {
    match plan.refresh.is_some() {
        true => refreshed::clear(&runtime.paths, plan),
        false => once::clear(&runtime.paths, plan),
    }
}
