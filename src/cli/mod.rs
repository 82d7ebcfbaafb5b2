//! What people run: `podkey inject` and `podkey migrate`. `main.rs` has their command lines.

pub mod inject;
pub mod migrate;
