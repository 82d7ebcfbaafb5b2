//! Values as text, as Go's `fmt`, `strconv`, `strings`, `html/template` and `encoding/json` write them.

pub(crate) mod escape;
pub(crate) mod float;
pub(crate) mod format;
pub(crate) mod json;
pub(crate) mod print;
pub(crate) mod quote;
pub(crate) mod strings;
pub(crate) mod title;
pub(crate) mod unicode;
