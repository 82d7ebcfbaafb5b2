//! The commands that people run: `podkey inject` and `podkey migrate`. `main.rs` has their command lines; here is what they read,
//! print and exit with.

pub mod inject;
pub mod migrate;

mod exit;

pub use exit::{EX_USAGE, unusable};
