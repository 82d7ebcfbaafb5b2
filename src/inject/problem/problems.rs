//! What is wrong with a pod's request, in words that the pod's author can act on: which key, what is wrong, what to write.

use std::fmt;

use crate::inject::problem::no_rule::NoRule;

/// Who can mend a problem. The status code of the answer depends on it, and ARC reacts to each code in another way:
/// `docs/guides/with-arc.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mender {
    /// Whoever writes the pod's template: an annotation or the pod's spec must change. A retry does not help.
    Author,
    /// The operator: a change of the config or the cluster lets this very pod in, and then a retry is enough. (A guard that the
    /// operator set on purpose, such as a job policy, is a problem of the author.)
    Operator,
}

/// Why a pod is refused, as metrics count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RefusalReason {
    /// No allow rule of the operator's lets the pod read its secrets.
    NoRule,
    /// A change of the operator's config or of the cluster lets the pod in.
    Config,
    /// The pod's annotations are wrong.
    Annotations,
    /// The pod's spec does not go with its annotations.
    Pod,
    /// The pod has a shape that podkey cannot read.
    Unreadable,
}

impl RefusalReason {
    pub(crate) const ALL: [Self; 5] = [
        Self::NoRule,
        Self::Config,
        Self::Annotations,
        Self::Pod,
        Self::Unreadable,
    ];

    /// The word in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::Config => "config",
            Self::Annotations => "annotations",
            Self::Pod => "pod",
            Self::Unreadable => "unreadable",
        }
    }
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The annotation, or the place in the pod, such as `podkey.dev/files[0].mode` or `spec.hostPID`.
    pub key: String,
    /// What is wrong and what to do, as the rest of a sentence that begins with the key.
    pub message: String,
    /// Who can mend the problem.
    pub(crate) mender: Mender,
}

/// Everything that is wrong with one pod's request. Keeps the first problems and counts the rest: a request with a million
/// mistakes must not fill the memory, nor cost the time to write a million messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    left_out: usize,
    no_rule: Option<NoRule>,
    /// Whether the author has to mend one of the problems that were left out.
    author_left_out: bool,
}

/// The most problems that are kept.
const MAX_KEPT: usize = 256;

impl Problems {
    /// Adds a problem that the author has to mend.
    pub(crate) fn push(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.add(Mender::Author, || (key, message));
    }

    /// Adds a problem that the author has to mend. The message is written only if the problem is kept: for loops over lists of
    /// any length.
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

    /// Keeps for the operator which allow rule comes nearest. The author only learns that no rule allows the pod.
    pub(crate) fn keep_for_operator(&mut self, no_rule: NoRule) {
        self.no_rule = Some(no_rule);
    }

    /// Why none of the operator's allow rules matches, if that is a problem. Only for the operator's log, never for the answer.
    pub(crate) fn no_rule(&self) -> Option<&NoRule> {
        self.no_rule.as_ref()
    }

    /// Gives problems another key, where `key` has one for it.
    pub(crate) fn rename(&mut self, key: impl Fn(&str) -> Option<String>) {
        for problem in &mut self.kept {
            if let Some(other) = key(&problem.key) {
                problem.key = other;
            }
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether no further problem is kept. A search in the product of two lists can stop then.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() == MAX_KEPT
    }

    /// How many problems were found, with those that were left out. There may be more: some searches stop when the list is full.
    pub fn len(&self) -> usize {
        self.kept.len() + self.left_out
    }

    /// The problems that are kept, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.kept.iter()
    }

    /// Who can mend all the problems. While one problem needs another template, nothing that the operator does lets this pod in.
    pub fn mender(&self) -> Mender {
        let operator_alone = self.iter().all(|problem| problem.mender == Mender::Operator);
        match operator_alone && !self.author_left_out {
            true => Mender::Operator,
            false => Mender::Author,
        }
    }

    /// Why the pod is refused, as metrics count it. An author's problem comes first: the pod needs another template then, whatever
    /// the operator does.
    pub(crate) fn reason(&self) -> RefusalReason {
        match self.mender() {
            Mender::Operator if self.no_rule.is_some() => RefusalReason::NoRule,
            Mender::Operator => RefusalReason::Config,
            Mender::Author => {
                let first = self.iter().find(|problem| problem.mender == Mender::Author);
                match first.is_some_and(|problem| problem.key.starts_with("spec.")) {
                    true => RefusalReason::Pod,
                    false => RefusalReason::Annotations,
                }
            }
        }
    }

    fn write_rest(&self, f: &mut fmt::Formatter<'_>, rest: usize) -> fmt::Result {
        match self.left_out {
            0 => write!(f, "; and {rest} more"),
            _ => write!(f, "; and at least {rest} more"),
        }
    }
}

/// The longest message, in bytes. The message goes into an event of the pod's owner, whose note the API server cuts at 1 KiB, and
/// into ARC's log; `kubectl apply` of a pod shows all of it.
const MAX_MESSAGE_BYTES: usize = 4096;

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
            if written > MAX_MESSAGE_BYTES && index > 0 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::words::keys::FILES;

    #[test]
    fn a_long_message_says_how_many_problems_it_left_out() {
        let mut problems = Problems::default();
        for _ in 0..2 * MAX_KEPT {
            problems.push(FILES, "x".repeat(100));
        }
        let text = problems.to_string();
        assert!(text.len() < MAX_MESSAGE_BYTES + 32, "{}", text.len());
        assert!(text.contains("; and at least ") && text.ends_with(" more"), "{text}");
        let mut problems = Problems::default();
        (0..MAX_KEPT).for_each(|_| problems.push(FILES, "x".repeat(100)));
        assert!(problems.to_string().ends_with("; and 222 more"), "{problems}");
    }

    #[test]
    fn the_message_of_a_problem_that_is_not_kept_is_not_written() {
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
    fn the_reason_is_the_operators_only_if_no_problem_needs_another_template() {
        let mut problems = Problems::default();
        problems.push_for_operator("podkey.dev/connection", "b");
        assert_eq!(problems.reason(), RefusalReason::Config);
        problems.push("spec.volumes", "b");
        assert_eq!(problems.reason(), RefusalReason::Pod);
        let mut problems = Problems::default();
        problems.push(FILES, "b");
        problems.push("spec.volumes", "b");
        assert_eq!(problems.reason(), RefusalReason::Annotations);
    }

    #[test]
    fn the_operator_can_mend_a_pod_only_if_no_problem_needs_another_template() {
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
            "the last problem, which is not kept"
        );
    }
}
