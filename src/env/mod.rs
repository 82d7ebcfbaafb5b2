//! vault-action's `secrets` input, `path key | NAME ;`, as `podkey.dev/env` and `podkey.dev/job-env` take it: any pod's
//! variables, a runner pod's among them. Pure. Its own source is github.com/hashicorp/vault-action, 3.4.0.
//!
//! - [`grammar`]: from text to what a plan holds. The webhook reads it.
//! - [`select`]: from a secret's data to values and the names of their variables.

pub mod grammar;
#[cfg(feature = "agent")]
pub(crate) mod select;
