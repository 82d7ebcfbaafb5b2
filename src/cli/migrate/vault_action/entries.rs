//! The entries of `secrets`: the entries that podkey takes, rewritten, and why podkey does not take the other entries.

use super::expressions::{end_of_path, expression, split, with_placeholders};
use super::kept_entry::{KeptEntry, same_name};
use super::part::StepPart;
use crate::env::grammar::{self, EnvEntry};
use crate::inject::keys::JOB_ENV;
use crate::plan::{MAX_ENV_SECRETS, PathTemplate, Placeholder};
use crate::text::{is_runners, quoted, takes_over};

impl StepPart<'_> {
    /// The entries of `secrets` that podkey takes; the others are lost.
    pub(super) fn entries(&mut self) -> Vec<KeptEntry> {
        let mut kept: Vec<KeptEntry> = Vec::new();
        let secrets = self.input("secrets").unwrap_or_default();
        if expression(secrets) == Some(secrets) {
            self.lose(
                "secrets",
                &format!("podkey does not know {secrets}: write its entries yourself"),
            );
            return kept;
        }
        let all = split(secrets);
        if all.len() > MAX_ENV_SECRETS {
            self.lose(
                "secrets",
                &format!("there are {} entries, and podkey takes {MAX_ENV_SECRETS}", all.len()),
            );
        }
        for written in all.into_iter().take(MAX_ENV_SECRETS) {
            let (path, rest) = written.split_at(end_of_path(&written));
            let path = with_placeholders(path);
            let written = format!("{path}{rest}");
            match entry(&path, rest, &written, &kept) {
                Ok(entry) => kept.push(entry),
                Err(problems) => {
                    for problem in problems {
                        self.lose(&format!("secrets: {}", quoted(&written)), &problem);
                    }
                }
            }
        }
        kept
    }
}

/// One entry, with its path in podkey's spelling. The error: why podkey does not take the entry.
fn entry(path: &str, rest: &str, written: &str, kept: &[KeptEntry]) -> Result<KeptEntry, Vec<String>> {
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
    let entry = grammar::entries(written).next().and_then(Result::ok);
    let parsed = grammar::parse::<PathTemplate>(written);
    let mut secrets = parsed.map_err(|problems| {
        let way_out = entry.and_then(|entry| way_out(&grammar::output(&entry)));
        let mut problems: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
        if let (Some(last), Some(way_out)) = (problems.last_mut(), way_out) {
            *last = format!("{last}; {way_out}");
        }
        problems
    })?;
    let (Some(secret), Some(entry)) = (secrets.pop(), entry) else {
        return Err(Vec::new());
    };
    if let Some(other) = kept.iter().find(|other| same_name(&other.secret, &secret)) {
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

/// For a variable that podkey does not set, because it is the runner's or decides what programs do: how steps can have it.
pub(super) fn way_out(output: &str) -> Option<String> {
    let name = output.to_uppercase();
    let name = if takes_over(output).is_some() || is_runners(output) {
        output.to_owned()
    } else {
        name
    };
    if takes_over(&name).is_none() && !is_runners(&name) {
        return None;
    }
    let other = format!("VAULT_{}", name.trim_start_matches('_'));
    Some(format!(
        "way out: write \"| {other}\", and in each step that needs it \"env: {{ {name}: ${{{{ env.{other} }}}} }}\""
    ))
}

/// The entry in the usual white space.
fn rewritten(entry: &EnvEntry<'_>) -> String {
    let name = entry.name.map_or(String::new(), |name| format!(" | {name}"));
    format!("{} {}{name}", entry.path, entry.selector)
}
