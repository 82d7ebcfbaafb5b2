//! The commands that people run: `podkey inject` and `podkey migrate`. `main.rs` has their command lines; this module has
//! their work, output and exit codes.

pub mod inject;
pub mod migrate;

mod exit;
mod input;

pub use exit::{EX_USAGE, unusable};
use input::read;
