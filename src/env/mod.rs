//! Variables from secrets, for any pod: the values of `podkey.dev/env` and `podkey.dev/job-env`, in the grammar of vault-action's
//! `secrets` input, `path key | NAME ;`. Pure. The source of the grammar is github.com/hashicorp/vault-action, 3.4.0.
//!
//! - [`grammar`]: from the text to entries of a plan, for the webhook. `selector` is a part of it.
//! - `select`: from a secret's data to values and the names of their variables, for the agent.

pub mod grammar;
#[cfg(feature = "agent")]
pub(crate) mod select;
mod selector;

#[cfg(feature = "agent")]
pub use crate::text::WILDCARD_RULES;
