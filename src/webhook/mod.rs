//! The webhook: `podkey serve`. An HTTPS server around [`crate::inject::decide`], which does all the thinking.

mod config;
mod file;
mod limit;
mod metrics;
pub mod offline;
mod review;
mod server;
mod tls;

pub use config::{LoadConfigError, load};
pub use server::{Options, ServeError, Tls, serve};
pub use tls::{ByItself, CertificateError, ClusterError};
