//! The engine of templates: the bytes that a real `bao agent` writes for the same template and the same secrets, what podkey
//! refuses or says in its own words, and hostile input.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code outside of #[test] functions"
)]

#[path = "../support/mod.rs"]
mod support;

mod behaviour;
mod compared;
mod dynamic;
mod generate;
mod hostile;
mod reference;
