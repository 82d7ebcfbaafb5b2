//! What is installed agrees with the programs: the chart in each of its modes, the plain manifest, the ways to a
//! certificate, the alerts, the dashboard and the examples. `helm` and `kubectl` are the real ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod alerts;
mod certs;
mod chart;
mod ecosystem;
mod examples;
mod guard;
mod install;
mod metrics;
mod metrics_page;
mod refusals;
mod rendered;
#[path = "../support/mod.rs"]
mod support;
