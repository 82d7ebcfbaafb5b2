//! What is wrong with a pod's request, told so that its author can mend it: which key, what is wrong, what to write.

use std::fmt;

use super::policy::NoRule;
pub(super) use crate::text::{quoted, unquoted};

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The annotation, or the place in the pod, such as `podkey.dev/files[0].mode` or `spec.hostPID`.
    pub key: String,
    /// What is wrong and what to do, as the rest of the sentence.
    pub message: String,
}

/// Everything that is wrong with one pod's request. Keeps the first ones and counts the rest: a request with a million
/// mistakes in it must not fill the memory with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    left_out: usize,
    no_rule: Option<NoRule>,
}

/// The most problems that are kept.
const MAX_KEPT: usize = 256;
/// The most candidates that are compared with what was written.
const MAX_CANDIDATES: usize = 64;

impl Problems {
    /// Adds one.
    pub fn push(&mut self, key: impl Into<String>, message: impl Into<String>) {
        if self.kept.len() == MAX_KEPT {
            self.left_out += 1;
            return;
        }
        self.kept.push(Problem {
            key: key.into(),
            message: message.into(),
        });
    }

    /// Keeps for the operator which of his rules comes nearest. The author is told that none allows it, and no more.
    pub(super) fn keep_for_operator(&mut self, no_rule: NoRule) {
        self.no_rule = Some(no_rule);
    }

    /// Why none of the operator's allow rules matches, where that is a problem: for the operator's log alone, never for the
    /// answer.
    pub fn no_rule(&self) -> Option<&NoRule> {
        self.no_rule.as_ref()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many there are, those left out too.
    pub fn len(&self) -> usize {
        self.kept.len() + self.left_out
    }

    /// Each of those kept, in the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.kept.iter()
    }
}

/// The longest message: it ends up in an event of the owner, whose note the API server cuts at 1 KiB, and in ARC's log.
/// Longer than both, because `kubectl apply` of a pod shows all of it.
const MAX_MESSAGE: usize = 4096;

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = 0;
        for (index, problem) in self.kept.iter().enumerate() {
            let line = format!(
                "{}{}: {}",
                if index == 0 { "" } else { "; " },
                problem.key,
                problem.message
            );
            written += line.len();
            if written > MAX_MESSAGE && index > 0 {
                return write!(f, "; and {} more", self.len() - index);
            }
            f.write_str(&line)?;
        }
        if self.left_out > 0 {
            write!(f, "; and {} more", self.left_out)?;
        }
        Ok(())
    }
}

/// That a value is none of the fixed ones, with the nearest of them.
pub(super) fn one_of(written: &str, allowed: &[&str]) -> String {
    format!(
        "{} is none of {}{}",
        quoted(written),
        allowed.join(", "),
        did_you_mean(written, allowed.iter().copied())
    )
}

/// ` (did you mean "x"?)` with the candidate that is nearest to what was written, or nothing where none is near.
pub(super) fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    // A value far longer than any key is not a misspelt one, and measuring it would cost its square.
    if written.len() > 64 {
        return String::new();
    }
    candidates
        .into_iter()
        // Names of containers are candidates too, and a pod may have any number.
        .take(MAX_CANDIDATES)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&written.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| format!(" (did you mean {candidate:?}?)"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_and_nothing_where_none_is_near() {
        let keys = ["role", "files", "containers"];
        assert_eq!(did_you_mean("fiels", keys), " (did you mean \"files\"?)");
        assert_eq!(did_you_mean("Role", keys), " (did you mean \"role\"?)");
        assert_eq!(did_you_mean("inject", keys), "");
        assert_eq!(did_you_mean(&"x".repeat(100_000), keys), "");
    }

    #[test]
    fn a_long_message_says_how_many_problems_it_left_out() {
        let mut problems = Problems::default();
        for _ in 0..100 {
            problems.push("podkey.dev/files", "x".repeat(100));
        }
        let text = problems.to_string();
        assert!(text.len() < MAX_MESSAGE + 32, "{}", text.len());
        assert!(text.ends_with(" more"), "{text}");
    }
}
