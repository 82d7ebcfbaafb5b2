//! The webhook: `podkey serve`. An HTTPS server around [`crate::inject::decide`], which makes every decision.
//!
//! `server` puts the parts together. A request passes `connection` (TLS, HTTP, the table of open connections), `body` (reads
//! the bytes, which the `account` limits), `mutate` (answers, logs and counts), `memo` (remembers answers) and `review`
//! (AdmissionReview in and out).
//! `known_cluster` learns what the cluster can do, and `limits` has all sizes.
//!
//! The server is for Unix. Elsewhere only the config file is read, for the commands of a workstation.

#[cfg(unix)]
mod account;
#[cfg(unix)]
mod admin;
#[cfg(unix)]
mod body;
mod config_file;
#[cfg(unix)]
mod connection;
#[cfg(all(any(test, feature = "fuzzing"), unix))]
pub(crate) mod fuzzing;
#[cfg(unix)]
mod known_cluster;
#[cfg(unix)]
mod limits;
#[cfg(unix)]
mod memo;
#[cfg(unix)]
mod metrics;
#[cfg(unix)]
mod mutate;
mod named_file;
#[cfg(unix)]
mod review;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod shutdown;
#[cfg(unix)]
mod tls;

#[cfg(unix)]
pub use crate::cluster::ClusterError;
pub use config_file::{LoadConfigError, load};
#[cfg(unix)]
pub use server::{ServeError, ServeOptions, Tls, serve};
#[cfg(unix)]
pub use tls::{CertificateError, SelfManaged};

/// The most worker threads. The memory of each thread's decision is part of the memory limit.
#[cfg(unix)]
pub const MAX_WORKERS: usize = limits::MAX_WORKERS;
