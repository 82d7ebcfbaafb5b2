//! The agent's binary against a real OpenBao over TLS, and against servers that misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code outside of #[test] functions"
)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod audit_trail;
mod deliver;
mod denied;
mod dist;
mod engines;
mod engines_refresh;
mod exec;
mod foreign;
mod formats;
mod fresh;
mod inline;
mod inline_session;
mod job_bad_input;
mod job_cases;
mod job_ids;
mod job_image;
mod job_init;
mod job_names;
mod job_own;
mod job_pod;
mod job_refresh;
mod job_runner;
mod job_started;
mod job_temp;
mod kubelet_env;
mod mounts;
mod on_change;
mod plan;
mod problems;
mod process;
#[cfg(feature = "webhook")]
mod recipes;
mod restart;
mod sidecar_footprint;
mod sidecar_life;
mod sidecar_pod;
mod sidecar_process;
mod sidecar_proof;
mod sidecar_token;
mod templates_init;
mod templates_job;
mod templates_refresh;
mod tls;
mod token_file;
mod token_uses;
#[cfg(feature = "webhook")]
mod vault_k8s;
mod volume;
