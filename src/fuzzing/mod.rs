//! The doors of the fuzz targets in `fuzz/`: one function for each parser that meets bytes from outside. Each function takes any
//! bytes, and panics if the parser breaks one of its laws. No program is built with this room.
//!
//! A room whose parser is private has its door in a file `fuzzing.rs` of its own. The others are here.
//! `docs/develop/fuzzing.md` says how to run the targets, and how to add a target.

mod config;
mod env;
mod input;
mod job;
mod masks;
mod migrate;
mod plan;
mod pod;
mod render;
mod template;
#[cfg(test)]
mod tests;

pub use self::config::config;
pub use self::env::env;
pub use self::job::job;
pub use self::masks::masks;
pub use self::migrate::{manifest, migrate, migrate_vault_k8s};
pub use self::plan::plan;
pub use self::pod::{annotations, files, review};
pub use self::render::formats;
pub use self::template::{render_template, template};
pub use crate::agent::fuzzing::{handover, status_file};
pub use crate::cli::doctor::fuzzing::policy;
pub use crate::cli::status::fuzzing::status;
pub use crate::http::fuzzing::{certificate, http};
pub use crate::vault::fuzzing::answer;
