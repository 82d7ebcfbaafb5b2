//! What is wrong with a pod's request, told so that its author can mend it: which key, what is wrong, what to write.

use std::fmt;

use crate::inject::check::policy::NoRule;
pub(crate) use crate::text::{quoted, unquoted};

/// Who can mend a problem. The answer's status code says it, and ARC does something else for each: README, "Ask for
/// secrets".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mender {
    /// Whoever writes the pod's template: an annotation or the pod's spec must change. Trying again is of no use.
    Author,
    /// The operator: his config or his cluster can let this very pod in, and then trying again is enough. The message turns
    /// to him. (A guard that he set on purpose, such as a job policy, is the author's to obey.)
    Operator,
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The annotation, or the place in the pod, such as `podkey.dev/files[0].mode` or `spec.hostPID`.
    pub key: String,
    /// What is wrong and what to do, as the rest of the sentence.
    pub message: String,
    /// Who can do it.
    pub mender: Mender,
}

/// Everything that is wrong with one pod's request. Keeps the first problems and counts the rest: a request with a million
/// mistakes in it must neither fill the memory nor cost the time to write them all down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    left_out: usize,
    no_rule: Option<NoRule>,
    /// Whether one of those left out is the author's.
    author_left_out: bool,
}

/// The most problems that are kept.
const MAX_KEPT: usize = 256;
/// The most candidates that are compared with a text, and the longest of them in bytes.
const MAX_CANDIDATES: usize = 64;
const MAX_CANDIDATE_BYTES: usize = 128;

impl Problems {
    /// Adds a problem that the author can mend.
    pub(crate) fn push(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.add(Mender::Author, || (key, message));
    }

    /// Likewise, and writes it only where it will be kept: for loops over lists of any length.
    pub(crate) fn push_with<K: Into<String>, M: Into<String>>(&mut self, problem: impl FnOnce() -> (K, M)) {
        self.add(Mender::Author, problem);
    }

    /// Adds a problem that the operator can mend.
    pub(crate) fn push_for_operator(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.add(Mender::Operator, || (key, message));
    }

    fn add<K: Into<String>, M: Into<String>>(&mut self, mender: Mender, problem: impl FnOnce() -> (K, M)) {
        if self.is_full() {
            self.left_out += 1;
            self.author_left_out |= mender == Mender::Author;
            return;
        }
        let (key, message) = problem();
        self.kept.push(Problem {
            key: key.into(),
            message: message.into(),
            mender,
        });
    }

    /// Keeps for the operator which of his rules comes nearest. The author is told that none allows it, and no more.
    pub(crate) fn keep_for_operator(&mut self, no_rule: NoRule) {
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

    /// Whether no further problem is kept. Who looks for more in a product of two lists may stop.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() == MAX_KEPT
    }

    /// How many were found, those left out too. There may be more: nobody looks for all once there are enough.
    pub fn len(&self) -> usize {
        self.kept.len() + self.left_out
    }

    /// Each of those kept, in the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.kept.iter()
    }

    /// Who can mend them all. As long as one of them needs another template, nothing that the operator does lets this pod in.
    pub fn mender(&self) -> Mender {
        let operator_alone = self.iter().all(|problem| problem.mender == Mender::Operator);
        match operator_alone && !self.author_left_out {
            true => Mender::Operator,
            false => Mender::Author,
        }
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
                return self.write_rest(f, self.len() - index);
            }
            f.write_str(&line)?;
        }
        match self.left_out {
            0 => Ok(()),
            rest => self.write_rest(f, rest),
        }
    }
}

impl Problems {
    fn write_rest(&self, f: &mut fmt::Formatter<'_>, rest: usize) -> fmt::Result {
        match self.left_out {
            0 => write!(f, "; and {rest} more"),
            _ => write!(f, "; and at least {rest} more"),
        }
    }
}

/// That a value is none of the fixed ones, with the nearest of them.
pub(crate) fn one_of(written: &str, allowed: &[&str]) -> String {
    format!(
        "{} is none of {}{}",
        quoted(written),
        allowed.join(", "),
        did_you_mean(written, allowed.iter().copied())
    )
}

/// ` (did you mean "x"?)` with the candidate that is nearest to what was written, or nothing where none is near.
pub(crate) fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    // A value far longer than any key is not a misspelt one, and measuring it would cost its square.
    if written.len() > 64 {
        return String::new();
    }
    let written = written.to_lowercase();
    let length = written.chars().count();
    candidates
        .into_iter()
        // Names of containers are candidates too, and a pod may have any number, of any length.
        .take(MAX_CANDIDATES)
        .filter(|candidate| candidate.len() <= MAX_CANDIDATE_BYTES)
        .filter_map(|candidate| {
            let near = (candidate.len() / 3).max(1);
            let lowercase = candidate.to_lowercase();
            // The distance is never less than the difference in length.
            let distance = (lowercase.chars().count().abs_diff(length) <= near)
                .then(|| strsim::damerau_levenshtein(&written, &lowercase))?;
            (distance <= near).then_some((distance, candidate))
        })
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
        for _ in 0..2 * MAX_KEPT {
            problems.push("podkey.dev/files", "x".repeat(100));
        }
        let text = problems.to_string();
        assert!(text.len() < MAX_MESSAGE + 32, "{}", text.len());
        assert!(text.contains("; and at least ") && text.ends_with(" more"), "{text}");
        let mut problems = Problems::default();
        (0..MAX_KEPT).for_each(|_| problems.push("podkey.dev/files", "x".repeat(100)));
        assert!(problems.to_string().ends_with("; and 222 more"), "{problems}");
    }

    #[test]
    fn what_is_not_kept_is_not_even_written() {
        let mut problems = Problems::default();
        let mut written = 0;
        for _ in 0..100_000 {
            problems.push_with(|| {
                written += 1;
                ("key", "message")
            });
        }
        assert_eq!((written, problems.len()), (MAX_KEPT, 100_000));
    }

    #[test]
    fn the_operator_mends_only_what_needs_no_other_template() {
        let of = |menders: &[Mender]| {
            let mut problems = Problems::default();
            for mender in menders {
                match mender {
                    Mender::Author => problems.push("a", "b"),
                    Mender::Operator => problems.push_for_operator("a", "b"),
                }
            }
            problems.mender()
        };
        assert_eq!(of(&[Mender::Operator]), Mender::Operator);
        assert_eq!(of(&[Mender::Author]), Mender::Author);
        assert_eq!(of(&[Mender::Operator, Mender::Author]), Mender::Author);
        let many = vec![Mender::Operator; 1000];
        assert_eq!(of(&many), Mender::Operator);
        assert_eq!(
            of(&[&many[..], &[Mender::Author]].concat()),
            Mender::Author,
            "the last, which is not kept"
        );
    }
}
