//! podkey hands pods their Vault or OpenBao secrets: a mutating admission webhook (`podkey serve`) adds an init
//! container to pods that ask for it by annotation, and that container (`podkey-agent init`) logs in with the pod's
//! own service-account token and writes the secrets as files. A sidecar keeps them fresh, where the pod asks for that.
//!
//! # The picture
//!
//! ```text
//!    kube-apiserver                                      the pod's containers
//!          │ AdmissionReview   ▲ CA, caBundle                    ▲ files
//! ─────────┼───────────────────┼──── edges: async, I/O ──────────┼──────────────────────
//!          ▼                   │                                 │
//!    ┌─ webhook/ ──────────────┴┐            ┌─ agent/ ──────────┴──────┐
//!    │ server, review,          │            │ init, sidecar,           │
//!    │ tls, config              │            │ job hooks, files         │
//!    │                          │            └───┬──────────────┬───────┘
//!    └───────┬──────────────────┘                │              ▼
//!            │                                   │       ┌─ vault/ ──────────────┐
//!            │                                   │       │ login, read, renew,   │──▶ Vault / OpenBao
//!            │                                   │       │ revoke, transport     │
//!            │                                   │       └──────┬────────────────┘
//! ───────────┼──────────── pure: no async, no clock, no I/O ────┼───────────────────────
//!            ▼                                   ▼              │
//!    ┌─ inject/ ─────────┐              ┌─ render/ ─────────┐   │
//!    │ annotations,      │              │ decode, format    │   │
//!    │ policy, pod, patch│              └───────┬───────────┘   │
//!    └───────┬───────────┘                      │     ┌─ schedule/ ───────────┐
//!            │                                  │     │ limiter, term, pace   │◀─ agent/, vault/
//!            │                                  │     └─────────┬─────────────┘
//!            ▼                                  │               │
//!    ┌─ job/ ──────────────────────────┐        │               │
//!    │ vault-action's grammar, masks,  │◀─ agent/               │
//!    │ GITHUB_ENV, policy, placeholders│        │               │
//!    └───────┬─────────────────────────┘        │               │
//!            ▼                                  ▼               ▼
//!    ┌──────── plan/: Plan       secret.rs: Secret, Lease     json.rs     text/ ────────┐
//!    └──────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! An arrow means "may use"; nothing points upward. `webhook/` and `agent/` never see each other: they meet at
//! [`plan::Plan`], which the webhook writes into the pod and the agent reads. The plan names secrets and holds none.
//! `tests/architecture.rs` reads `src/` and holds these arrows, and the purity of the lower half.
//!
//! # Where to begin reading
//!
//! 1. [`plan`]: what the agent is asked to do; every other module is about making a plan or carrying one out.
//! 2. `inject::decide`: from a pod, its namespace and the operator's config to a decision, in one pure function.
//! 3. `webhook`: the HTTPS server around it, and `offline`, the same decision for `podkey inject`.
//!    `webhook/tls` keeps the serving certificate, from files or by itself through the API server; deciding about a pod
//!    never calls anyone.
//! 4. `agent::init`: plan → token file → login → reads → render all in memory → write all → revoke → exit. Then
//!    `agent::hooks`: what a runner's job gets of it, and when that is taken away again.
//!    `agent::sidecar`: what `init` handed over → what the schedule says is due → one swap that shows all that changed → …
//! 5. `job`: what a GitHub Actions job gets through the runner's hooks; its `masks` say what the log hides.
//! 6. `migrate`: what replaces vault-action in a workflow; pure, beside `inject`, and on nothing but `job`.
//! 7. `vault`: how we speak to Vault and OpenBao, and which failure is worth another try.
//! 8. `schedule`: when the sidecar logs in, renews, reads again and revokes; pure, and tried for years of simulated time.
//!
//! Two programs, two features: `podkey` (`webhook`) and `podkey-agent` (`agent`), so that the agent, which runs in every
//! pod, carries no server and no Kubernetes types.

pub mod env;
pub mod job;
pub mod plan;
pub mod telemetry;
mod text;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "agent")]
mod http;
#[cfg(feature = "agent")]
mod json;
#[cfg(feature = "agent")]
pub mod render;
#[cfg(feature = "agent")]
mod schedule;
#[cfg(feature = "agent")]
mod secret;
#[cfg(feature = "agent")]
mod vault;

#[cfg(feature = "webhook")]
pub mod cli;
#[cfg(feature = "webhook")]
mod cluster;
#[cfg(feature = "webhook")]
pub mod inject;
#[cfg(feature = "webhook")]
pub mod webhook;

/// The version both programs report, put into the annotation `podkey.dev/injected` and the agent's `User-Agent`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
