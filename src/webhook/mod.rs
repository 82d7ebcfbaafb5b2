//! The webhook: `podkey serve`. An HTTPS server around [`crate::inject::decide`], which makes every decision.
//!
//! `server` puts the parts together. A request passes `connection` (TLS, HTTP, the table of open connections), `body` (reads
//! the bytes, which the `account` limits), `mutate` (answers, logs and counts) and `review` (AdmissionReview in and out).
//! `known_cluster` learns what the cluster can do, and `limits` has all sizes.

mod account;
mod admin;
mod body;
mod config_file;
mod connection;
mod known_cluster;
mod limits;
mod metrics;
mod mutate;
mod named_file;
mod review;
mod server;
mod shutdown;
mod tls;

pub use crate::cluster::ClusterError;
pub use config_file::{LoadConfigError, load};
pub use server::{ServeError, ServeOptions, Tls, serve};
pub use tls::{CertificateError, SelfManaged};

/// The most worker threads. The memory of each thread's decision is part of the memory limit.
pub const MAX_WORKERS: usize = limits::MAX_WORKERS;
