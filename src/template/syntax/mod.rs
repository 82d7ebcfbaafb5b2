//! From the text of a template to its tree. The webhook uses this part alone.

pub(crate) mod ast;
pub(crate) mod call;
pub(crate) mod function;
mod lex;
mod literal;
pub(crate) mod number;
pub(crate) mod parse;
mod pipeline;
mod refused;

pub use self::call::{SecretCall, SecretFunction};
pub use self::function::function_names;
pub use self::parse::Template;
pub use self::refused::refused_functions;
