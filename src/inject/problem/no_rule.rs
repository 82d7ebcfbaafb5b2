//! Why no allow rule of the operator's config allows a pod: the details, which only the operator may see.

use std::fmt;

use crate::text::quoted;

/// Why no rule allows what a pod asks for. Only the operator may see this: whoever reaches the webhook may probe the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoRule {
    /// The list of rules is empty.
    Empty,
    /// The rule with the fewest unmet conditions; of several such rules, the first.
    Nearest {
        /// The place of the rule in the list, from 0.
        rule: usize,
        /// The field of each unmet condition, and the first of the pod's values that the field does not match.
        unmet: Vec<(&'static str, String)>,
    },
}

impl fmt::Display for NoRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("allow is an empty list, which allows nobody"),
            Self::Nearest { rule, unmet } => {
                write!(f, "allow[{rule}] comes nearest")?;
                for (index, (field, value)) in unmet.iter().enumerate() {
                    let separator = if index == 0 { ": " } else { ", " };
                    write!(f, "{separator}{field} does not match {}", quoted(value))?;
                }
                Ok(())
            }
        }
    }
}
