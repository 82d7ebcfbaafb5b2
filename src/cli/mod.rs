//! The commands that people run. Each room has a command: its command line, work, output and exit codes; `main.rs` names them.
//! With the feature `cli` podkey is the tool for workstations; the image has `inject` and `migrate` alone.

#[cfg(feature = "cli")]
pub mod completion;
#[cfg(feature = "cli")]
pub mod doctor;
#[cfg(feature = "cli")]
pub mod explain;
pub mod inject;
#[cfg(feature = "cli")]
pub mod lint;
pub mod migrate;
#[cfg(feature = "cli")]
pub mod status;
#[cfg(feature = "cli")]
pub mod version;

#[cfg(feature = "cli")]
mod cause;
mod exit;
mod input;
#[cfg(feature = "cli")]
mod kubeconfig;
mod manifest_files;
#[cfg(feature = "cli")]
mod terminal;
mod visible;

pub use exit::{EX_USAGE, unusable};
