//! The operator's config: which servers there are, who may use them, and how podkey's own containers look.
//!
//! Parsing is pure: the text of the file comes in, with a function that reads the CA files that the text names.

mod agent;
mod allow;
mod assumed;
mod auth;
mod connection;
mod connection_file;
mod error;
mod file;
mod job;
mod place;
mod section;
mod server;
#[cfg(test)]
mod tests;
mod vault_k8s;

pub(crate) use agent::{AgentConfig, AgentResources};
pub(crate) use allow::{AllowRule, Condition};
pub(crate) use assumed::NOT_CHECKED;
pub use connection::ConnectionConfig;
pub(crate) use connection::DEFAULT_CONNECTION;
pub use error::ConfigError;
pub use file::Config;
pub(crate) use file::{CONFIG, is_name_of_connection, keys};
