//! An entry of `secrets` that podkey takes, and the names that replace vault-action's output: variable, expression, file.

use crate::cli::migrate::output::scalar;
use crate::env::grammar;
use crate::plan::{EnvSecret, PathTemplate, SECRETS_DIR, Select, ValueStep};

/// An entry that podkey takes.
#[derive(Debug)]
pub(super) struct KeptEntry {
    /// The entry as podkey reads it.
    pub(super) written: String,
    /// The name of vault-action's output.
    pub(super) output: String,
    pub(super) secret: EnvSecret<PathTemplate>,
}

/// The variable's name. None: the entry makes a variable for each field.
pub(super) fn name_of(secret: &EnvSecret<PathTemplate>) -> Option<&str> {
    match &secret.select {
        Select::Value { name, .. } => Some(name.as_str()),
        Select::UpperCase { .. } | Select::KeepCase { .. } => None,
    }
}

/// What the names of the variables begin with, in capitals. None: the entry makes one variable.
pub(super) fn prefix_of(secret: &EnvSecret<PathTemplate>) -> Option<String> {
    match &secret.select {
        Select::Value { .. } => None,
        Select::UpperCase { prefix } | Select::KeepCase { prefix } => Some(grammar::normalized(prefix).to_uppercase()),
    }
}

pub(super) fn same_name(a: &EnvSecret<PathTemplate>, b: &EnvSecret<PathTemplate>) -> bool {
    name_of(a).is_some_and(|name| name_of(b) == Some(name))
}

/// The variable that replaces an output of vault-action, and its entry.
pub(super) fn variable<'k>(output: &str, kept: &'k [KeptEntry]) -> Option<(String, &'k KeptEntry)> {
    let named = kept.iter().find_map(|kept| {
        let name = name_of(&kept.secret)?;
        kept.output
            .eq_ignore_ascii_case(output)
            .then(|| (name.to_owned(), kept))
    });
    named.or_else(|| {
        let wildcards = kept.iter().filter_map(|kept| match &kept.secret.select {
            Select::Value { .. } => None,
            Select::UpperCase { prefix } => Some((grammar::normalized(prefix), true, kept)),
            Select::KeepCase { prefix } => Some((grammar::normalized(prefix), false, kept)),
        });
        let output_lower = output.to_lowercase();
        // Of several prefixes the longest is the most likely one.
        let (_, upper_case, kept) = wildcards
            .filter(|(prefix, ..)| output_lower.starts_with(&prefix.to_lowercase()))
            .max_by_key(|(prefix, ..)| prefix.len())?;
        let name = if upper_case {
            output.to_uppercase()
        } else {
            output.to_owned()
        };
        Some((name, kept))
    })
}

/// `env.NAME`, or `env['NAME']` for a name that an expression takes only so.
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

/// Where podkey writes a file of this name.
pub(super) fn secret_file(name: &str) -> String {
    format!("{SECRETS_DIR}/{name}")
}
