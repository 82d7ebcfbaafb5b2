//! YAML that people write: the tree of an annotation's value, and what is wrong with a file, in words for its author.

mod explain;
mod tree;

pub(crate) use explain::explain;
pub(crate) use tree::{Node, parse};
