//! The plan: the JSON in the agent's environment.

#![allow(clippy::expect_used, reason = "a fuzz target panics if a law is broken")]

use super::input;
use crate::plan::Plan;

/// `Plan::parse`. Laws: what parses is written as it was read, without a dollar sign that Kubernetes would expand; each file has a
/// place.
pub fn plan(bytes: &[u8]) {
    let Some(text) = input::text(bytes) else { return };
    let plan = match Plan::parse(text) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let written = plan.to_env_value().expect("a plan can be written");
    assert!(!written.contains('$'), "Kubernetes expands {written}");
    let again = Plan::parse(&written).expect("podkey reads the plan that it wrote");
    assert_eq!(plan, again);
    let places = plan.placed_files().count() + plan.placed_job_files().count();
    assert!(places <= plan.destinations().count());
    let formats = plan.formats();
    assert!(places == 0 || !formats.is_empty());
}
