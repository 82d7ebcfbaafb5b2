//! Walks the tree of a template and makes the file.

mod answer;
mod apply;
mod builtin;
mod certificate;
mod eval;
mod field;
mod printed;

pub(crate) mod sink;
pub(crate) mod value;

pub use self::eval::{Bounds, SecretLookup, TemplateOutput};
pub use self::value::SecretAnswer;
