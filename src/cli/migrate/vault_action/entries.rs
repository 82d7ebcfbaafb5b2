//! The entries of `secrets`: the entries that podkey takes, rewritten, and why podkey does not take the other entries.

use super::expressions::{end_of_path, expression, split, with_placeholders};
use super::kept_entry::{KeptEntry, name_of, same_name};
use super::replacement::Replacement;
use crate::env::grammar::{self, EnvEntry};
use crate::inject::keys::JOB_ENV;
use crate::plan::{EnvSecret, PathTemplate, Placeholder};
use crate::text::quoted;

impl Replacement<'_> {
    /// The entries of `secrets` that podkey takes; the others are lost.
    pub(super) fn entries(&mut self) -> Vec<KeptEntry> {
        let mut kept: Vec<KeptEntry> = Vec::new();
        for written in split(self.input("secrets").unwrap_or_default()) {
            let (path, rest) = written.split_at(end_of_path(&written));
            let path = with_placeholders(path);
            let written = format!("{path}{rest}");
            match self.entry(&path, rest, &written, &kept) {
                Ok(entry) => {
                    self.compare(&entry.secret);
                    kept.push(entry);
                }
                Err(problems) => {
                    for problem in problems {
                        self.lose(&format!("secrets: {}", quoted(&written)), &problem);
                    }
                }
            }
        }
        kept
    }

    /// One entry, with its path in podkey's spelling. The error: why podkey does not take the entry.
    fn entry(&self, path: &str, rest: &str, written: &str, kept: &[KeptEntry]) -> Result<KeptEntry, Vec<String>> {
        if let Some(expression) = expression(path) {
            return Err(vec![format!(
                "podkey does not know {expression}. Paths of {JOB_ENV} may have {}; for others keep vault-action",
                Placeholder::written_list("and")
            )]);
        }
        if let Some(expression) = expression(rest) {
            return Err(vec![format!(
                "{expression} is not in a path: write the key and the name themselves"
            )]);
        }
        let parsed = grammar::parse::<PathTemplate>(written);
        let mut secrets =
            parsed.map_err(|problems| problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>())?;
        let entry = grammar::entries(written).next().and_then(Result::ok);
        let (Some(secret), Some(entry)) = (secrets.pop(), entry) else {
            return Err(Vec::new());
        };
        if let Some(other) = self.same_variable(&secret, kept) {
            return Err(vec![format!(
                "its variable has the name of {}: give one of them another name",
                quoted(&other.written)
            )]);
        }
        Ok(KeptEntry {
            output: grammar::output(&entry),
            written: rewritten(&entry),
            secret,
        })
    }

    /// The entry whose variable has the same name, in this step or, for another secret, in an earlier step of the job: one pod has
    /// the variables of all steps of a job.
    fn same_variable<'e>(&'e self, secret: &EnvSecret<PathTemplate>, kept: &'e [KeptEntry]) -> Option<&'e KeptEntry> {
        let of_job = self
            .earlier
            .iter()
            .filter(|earlier| std::ptr::eq(earlier.job, self.job));
        let of_job = of_job.flat_map(|earlier| &earlier.kept);
        let of_job = of_job.filter(|other| other.secret != *secret);
        kept.iter().chain(of_job).find(|other| same_name(&other.secret, secret))
    }

    /// Notes that another job has another secret in a variable with an equal name.
    fn compare(&mut self, secret: &EnvSecret<PathTemplate>) {
        let of_others = self
            .earlier
            .iter()
            .filter(|earlier| !std::ptr::eq(earlier.job, self.job));
        let mut of_others = of_others.flat_map(|earlier| earlier.kept.iter().map(|kept| (earlier.line, kept)));
        let same = of_others.find(|(_, other)| same_name(&other.secret, secret) && other.secret != *secret);
        if let (Some((line, other)), Some(name)) = (same, name_of(secret)) {
            self.notes.push(format!(
                "{name} is another secret in the step at line {line} ({}): use one scale set for each of the two jobs, or give one of \
                the secrets another name",
                quoted(&other.written)
            ));
        }
    }
}

/// The entry in the usual white space.
fn rewritten(entry: &EnvEntry<'_>) -> String {
    let name = entry.name.map_or(String::new(), |name| format!(" | {name}"));
    format!("{} {}{name}", entry.path, entry.selector)
}
