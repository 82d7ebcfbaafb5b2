//! `toYAML` as yaml.v2 writes it, byte for byte, and `parseYAML`.

mod emit;
mod order;
pub(crate) mod read;
mod scalar;
pub(crate) mod write;
