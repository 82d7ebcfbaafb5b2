//! The entries of `secrets`: the entries that podkey takes, rewritten, and why podkey does not take the other entries.

use super::expressions::{end_of_path, expression, split, with_placeholders};
use super::replacement::Replacement;
use super::yaml::scalar;
use crate::env::grammar::{self, EnvEntry};
use crate::inject::keys::JOB_ENV;
use crate::plan::{EnvSecret, PathTemplate, Placeholder, SECRETS_DIR, Select, ValueStep};
use crate::text::quoted;

/// An entry that podkey takes.
pub(super) struct KeptEntry {
    /// The entry as podkey reads it.
    pub(super) written: String,
    /// The name of vault-action's output.
    pub(super) output: String,
    pub(super) secret: EnvSecret<PathTemplate>,
}

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

/// The variable's name. None: the entry makes a variable for each field.
pub(super) fn name_of(secret: &EnvSecret<PathTemplate>) -> Option<&str> {
    match &secret.select {
        Select::Value { name, .. } => Some(name.as_str()),
        Select::UpperCase { .. } | Select::KeepCase { .. } => None,
    }
}

fn same_name(a: &EnvSecret<PathTemplate>, b: &EnvSecret<PathTemplate>) -> bool {
    name_of(a).is_some_and(|name| name_of(b) == Some(name))
}

/// The variable that replaces an output of vault-action.
pub(super) fn variable(output: &str, kept: &[KeptEntry]) -> Option<String> {
    let named = kept.iter().find_map(|kept| {
        let name = name_of(&kept.secret)?;
        kept.output.eq_ignore_ascii_case(output).then(|| name.to_owned())
    });
    named.or_else(|| {
        let wildcards = kept.iter().filter_map(|kept| match &kept.secret.select {
            Select::Value { .. } => None,
            Select::UpperCase { prefix } => Some((grammar::normalized(prefix), true)),
            Select::KeepCase { prefix } => Some((grammar::normalized(prefix), false)),
        });
        let output_lower = output.to_lowercase();
        // Of several prefixes the longest is the most likely one.
        let (_, upper_case) = wildcards
            .filter(|(prefix, _)| output_lower.starts_with(&prefix.to_lowercase()))
            .max_by_key(|(prefix, _)| prefix.len())?;
        Some(if upper_case {
            output.to_uppercase()
        } else {
            output.to_owned()
        })
    })
}

/// `env.NAME`, or `env['NAME']` if an expression needs this form for the name.
pub(super) fn in_expression(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    match is_plain {
        true => format!("env.{name}"),
        false => format!("env['{name}']"),
    }
}

/// The first lines of an entry of `podkey.dev/files`. None: the entry is not about one field of a secret.
pub(super) fn file_entry(secret: &EnvSecret<PathTemplate>) -> Option<String> {
    let Select::Value { at, .. } = &secret.select else {
        return None;
    };
    let [ValueStep::Key(key)] = at.as_slice() else {
        return None;
    };
    let version = secret
        .version
        .map_or(String::new(), |version| format!("  version: {version}\n"));
    let path = secret.secret.to_string();
    Some(format!(
        "- secret: {}\n  key: {}\n{version}",
        scalar(&path),
        scalar(key)
    ))
}

/// The path at which podkey writes a file of this name.
pub(super) fn secret_file(name: &str) -> String {
    format!("{SECRETS_DIR}/{name}")
}
