//! podkey gives pods their secrets from Vault or OpenBao. A mutating admission webhook (`podkey serve`) adds an init container to
//! each pod that asks for secrets by annotation. That container (`podkey-agent init`) logs in with the pod's own service-account
//! token and writes the secrets as files. A sidecar keeps the files fresh, if the pod asks for that.
//!
//! # The picture
//!
//! ```text
//!   people, CI        kube-apiserver                    the pod's containers, the runner's job      Vault or OpenBao
//!       │                   │ AdmissionReview                 ▲ files        ▲ hooks                       ▲
//! ──────┼───────────────────┼──────── edges: async, I/O ──────┼──────────────┼─────────────────────────────┼──────
//!       ▼                   ▼                                 │              │                             │
//!   ┌─ cli/ ───┐   ┌─ webhook/ ────────┐        ┌─ agent/ ────┴──────────────┴──────┐                      │
//!   │ inject,  │   │ server, review,   │        │ init, sidecar, hooks, exec        │                      │
//!   │ lint,    │   │ limits, tls,      │        │ ┌─ volume/ ─────────────────────┐ │                      │
//!   │ doctor,  │   │ metrics           │        │ │ all paths and layouts of files│ │                      │
//!   │ status…  │   │                   │        │ └───────────────────────────────┘ │                      │
//!   └─┬────────┘   └─┬──────┬──────────┘        └──┬──────────┬─────────────────┬───┘                      │
//!     │              │      ▼                      │          ▼                 ▼                          │
//!     │              │   ┌─ cluster/ ─────────┐    │    ┌─ vault/ ───────┐   ┌─ http/ ──────────────┐      │
//!     │              │   │ Kubernetes' API    │    │    │ login, read,   │   │ dial, TLS trust,     │      │
//!     │              │   │ server             │    │    │ write, renew,  │──▶│ proxy, one request   │──────┘
//!     │              │   └────────────────────┘    │    │ revoke         │   │ within a deadline    │
//!     │              │                             │    └────────┬───────┘   └───────────┬──────────┘
//! ────┼──────────────┼──── pure: no async, clock, I/O, log, random source ──────────────┼─────────────────────────
//!     ▼              ▼                             ▼             ▼                       │
//!   ┌─ inject/ ─────────────┐   ┌─ job/ ─────────┐ ┌─ render/ ┐ ┌─ schedule/ ─────────┐  │
//!   │ request → survey →    │   │ masks, exports,│ │ formats  │ │ when the sidecar    │  │
//!   │ check → build; config │   │ policy, facts  │ │          │ │ does what           │  │
//!   └───────┬───────────────┘   └───────┬────────┘ └────┬─────┘ └─────────────────────┘  │
//!           ▼                           │               │                                │
//!   ┌─ env/ ────────────────┐           │               │                                │
//!   │ vault-action's grammar│           │               │                                │
//!   └───────┬───────────────┘           │               │                                │
//!           ▼                           ▼               ▼                                ▼
//!   ┌─ plan/: Plan, its parts, rules and words ── template/ ── secret.rs, json.rs ── text/ ── telemetry/ (the log) ─┐
//!   └────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//!   fuzzing/, in tests alone: the doors of the fuzz targets, one for each parser that meets bytes from outside
//! ```
//!
//! An arrow means "may use". No arrow points upward. `webhook/` and `agent/` do not use each other: they meet at [`plan::Plan`],
//! which the webhook writes into the pod and the agent reads. A plan names secrets and contains none. `http/` knows nothing of
//! Vault; only `agent/volume/` knows the paths and layouts of the pod's volumes.
//!
//! The table in `tests/architecture/rooms.rs` says the same, room by room. `tests/architecture/` reads `src/` with a parser and
//! refuses every other arrow, and everything impure in the lower half.
//!
//! # Where to begin reading
//!
//! 1. [`plan`]: what the agent is to do. Every other room makes a plan or carries one out.
//! 2. `inject::decide`: from a pod, its namespace and the operator's config to a decision, in one pure function: parse the
//!    request, survey the pod, check, build the patch.
//! 3. `webhook`: the HTTPS server around that function. `webhook/tls` keeps the serving certificate, from files or, through
//!    `cluster`, self-managed; `webhook/known_cluster` asks for the versions of the API server and the kubelets. The decision about
//!    a pod calls no other server.
//! 4. `cli`: the commands that people run. `cli/inject` makes the webhook's decision without the webhook; `cli/lint`
//!    prints the problems alone; `cli/doctor` and `cli/status` look into a cluster; `cli/migrate` shows what replaces vault-action in a
//!    workflow; `cli/explain` shows the tables of the parsers. The feature `cli` adds what only the tool for workstations has; Windows has that tool without `serve`.
//! 5. `agent`, `init`: plan → token file → login → reads → render all in memory → write all → revoke → exit. Then `hooks`: what a
//!    runner's job gets, and when that is deleted. Then `sidecar`: it resumes from the handover of `init`, executes the work that
//!    the schedule says is due, and shows all changed files with one swap. `volume` has the files themselves.
//! 6. `schedule`: when the sidecar logs in, renews, reads again and revokes. Pure; its tests simulate years.
//! 7. `vault`: the requests to Vault and OpenBao, and which failure is retried. Below it `http`: one request within a deadline.
//! 8. `job`: what a GitHub Actions job gets through the runner's hooks. Its `masks` say what the job's log hides.
//! 9. `env` and `render`: from the data of a secret to variables and to files. `template` is the language of files that are made of
//!    several fields or secrets.
//!
//! The two programs have a feature each: `podkey` (`webhook`) and `podkey-agent` (`agent`). The agent runs in every pod, so it
//! contains no server and no Kubernetes types.

#![cfg_attr(
    not(unix),
    allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "without `serve` parts of the library have no user; the builds for Unix show what nobody uses"
    )
)]

pub mod env;
pub mod plan;
pub mod telemetry;
pub mod template;
mod text;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "agent")]
mod http;
#[cfg(feature = "agent")]
pub mod job;
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
#[cfg(all(feature = "webhook", unix))]
mod cluster;
#[cfg(feature = "webhook")]
pub mod inject;
#[cfg(feature = "webhook")]
pub mod webhook;

#[cfg(all(any(test, feature = "fuzzing"), feature = "agent", feature = "cli", unix))]
#[doc(hidden)]
pub mod fuzzing;

/// The version both programs report, put into the annotation `podkey.dev/injected` and the agent's `User-Agent`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the programs are built from; `unknown`, if the build did not see git's folder.
pub const COMMIT: &str = env!("PODKEY_COMMIT");
