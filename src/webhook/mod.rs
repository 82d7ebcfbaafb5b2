//! The webhook: `podkey serve`. An HTTPS server around [`crate::inject::decide`], which does all the thinking.
//!
//! `server` puts it together. A connection's way: `connection` (TLS and HTTP) with its place in `places`, `body` (its bytes,
//! out of the `account`), `mutate` (its answer) around `review` (AdmissionReview in and out). `limits` has all sizes.

mod account;
mod admin;
mod body;
mod config;
mod connection;
mod file;
mod limits;
mod metrics;
mod mutate;
mod places;
mod review;
mod server;
mod shutdown;
mod tls;

pub use config::{LoadConfigError, load};
pub use server::{Options, ServeError, Tls, serve};
pub use tls::{ByItself, CertificateError, ClusterError};

/// The most threads that decide. What they take is part of the memory limit.
pub const MAX_WORKERS: usize = limits::MAX_WORKERS;
