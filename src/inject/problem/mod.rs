//! The messages about a pod: problems, warnings, and the wording that several problems share.

mod nearest;
mod no_rule;
mod problems;
mod warnings;

pub(crate) use crate::text::{quoted, unquoted};
pub(crate) use nearest::{did_you_mean, one_of};
pub(crate) use no_rule::NoRule;
pub(crate) use problems::RefusalReason;
pub use problems::{Mender, Problem, Problems};
pub use warnings::Warnings;
