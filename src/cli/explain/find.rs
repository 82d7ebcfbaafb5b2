//! Finding the entries that a user's text names: as it stands in a manifest or a config, in a message of podkey's, or by its last word.

use super::entry::{Entry, Kind};
use crate::cli::completion::called;
use crate::inject::PREFIX;
use crate::inject::vocabulary::{self, VAULT_K8S_PREFIXES};
use crate::text::{nearest, quoted};

/// The longest name that podkey looks for, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// The most names that a message suggests.
const MAX_SUGGESTIONS: usize = 5;
/// The shortest text that is looked for inside of names, in bytes.
const MIN_PART_BYTES: usize = 3;

/// podkey has no such name.
#[derive(Debug, thiserror::Error)]
#[error("{name} is not a name that podkey explains{suggestion}. `{called} explain` lists all names", name = quoted(.name), called = called())]
pub(super) struct UnknownName {
    name: String,
    suggestion: String,
}

/// The entries that the text names, all kinds.
pub(super) fn find<'a>(written: &str, all: &'a [Entry]) -> Result<Vec<&'a Entry>, UnknownName> {
    let name = normal(written);
    let found = [named, with_word, above].into_iter().map(|look| look(&name, all));
    found
        .into_iter()
        .find(|found| !found.is_empty())
        .ok_or_else(|| UnknownName {
            suggestion: match name.parse() {
                Ok(code) => not_our_code(code),
                Err(_) => suggestion(&name, all),
            },
            name: written.to_owned(),
        })
}

/// The entries whose value can be this word.
fn with_word<'a>(word: &str, all: &'a [Entry]) -> Vec<&'a Entry> {
    let default = format!("`{word}`");
    let has_word =
        |entry: &&Entry| entry.words.iter().any(|other| other.name == word) || entry.default == Some(default.as_str());
    all.iter().filter(has_word).collect()
}

/// The nearest entry above the name, where the names below that entry are not podkey's: those of a map or an object of Kubernetes.
fn above<'a>(name: &str, all: &'a [Entry]) -> Vec<&'a Entry> {
    let dots = name.rmatch_indices('.').filter_map(|(dot, _)| name.get(..dot));
    let found = dots.map(|above| named(above, all)).find(|found| !found.is_empty());
    found
        .filter(|found| found.iter().all(|entry| entry.fields.is_empty()))
        .unwrap_or_default()
}

/// The end of the message for an exit code that is not podkey's. Above 128 a signal ended the process, as shells and Kubernetes show it.
fn not_our_code(code: u32) -> String {
    let signal = match code.checked_sub(128) {
        Some(9) => ": the signal 9 (SIGKILL) ended the process; Kubernetes says OOMKilled where memory was short",
        Some(15) => ": the signal 15 (SIGTERM) ended the process",
        Some(signal @ 1..=64) => {
            return format!(", nor an exit code of podkey-agent: the signal {signal} ended the process");
        }
        _ => "",
    };
    format!(", nor an exit code of podkey-agent{signal}")
}

fn named<'a>(name: &str, all: &'a [Entry]) -> Vec<&'a Entry> {
    let in_a_connection = connection(name);
    let is_named = |spelling: &String| spelling == name || in_a_connection.as_deref() == Some(spelling);
    let found: Vec<_> = all
        .iter()
        .filter(|entry| entry.spellings.iter().any(is_named))
        .collect();
    if !found.is_empty() {
        return found;
    }
    // An annotation of vault-k8s with the NAME of a secret behind it.
    let bare = VAULT_K8S_PREFIXES
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    let Some(key) = vocabulary::vault_k8s_key(bare) else {
        return Vec::new();
    };
    let is_row =
        |entry: &&Entry| entry.kind == Kind::VaultK8s && entry.spellings.iter().any(|spelling| spelling == key.key);
    all.iter().filter(is_row).collect()
}

/// The text as the spellings of entries are written: lower case, no `[0]`, no quotes, nothing of the message that follows the name.
fn normal(written: &str) -> String {
    let written = written.trim();
    if written.len() > MAX_NAME_BYTES {
        return String::new();
    }
    let name = written.split(": ").next().unwrap_or(written).trim_end_matches(':');
    let mut depth = 0_usize;
    let mut normal = String::new();
    for c in name.chars() {
        match c {
            // `[-NAME]` is how the list shows a suffix that may be left out.
            '[' if !name.contains("[-") => depth += 1,
            ']' if depth > 0 => depth -= 1,
            '<' | '>' | '"' | '\'' | '`' => {}
            _ if depth > 0 => {}
            other => normal.extend(other.to_lowercase()),
        }
    }
    let code = ["exit code ", "exit-code ", "exit status ", "exit ", "code "];
    match code.iter().find_map(|words| normal.strip_prefix(words)) {
        Some(code) => code.trim().to_owned(),
        None => normal,
    }
}

/// The name with `name` in place of the connection's own name.
fn connection(name: &str) -> Option<String> {
    let rest = name.strip_prefix("connections.")?;
    Some(match rest.split_once('.') {
        Some((_, key)) => format!("connections.name.{key}"),
        None => "connections.name".to_owned(),
    })
}

/// The end of the message: the names that may be meant.
fn suggestion(name: &str, all: &[Entry]) -> String {
    // Nothing is near to an empty name, and the prefix is in most names.
    if name.is_empty() || PREFIX.starts_with(name) {
        return String::new();
    }
    if let Some((above, last)) = name.rsplit_once('.')
        && let [entry] = named(above, all).as_slice()
        && !entry.fields.is_empty()
    {
        let fields: Vec<_> = entry.fields.iter().map(|field| field.name.as_str()).collect();
        let near = nearest(last, fields.iter().copied()).map(|field| format!(" (did you mean {field:?}?)"));
        let near = near.unwrap_or_default();
        return format!("{near}: {} has the fields {}", entry.name, fields.join(", "));
    }
    let mut suggested: Vec<String> = Vec::new();
    for kind in Kind::ALL {
        let of_kind: Vec<_> = all.iter().filter(|entry| entry.kind == kind).collect();
        // One entry after another: `nearest` compares only so many candidates.
        let near = of_kind
            .iter()
            .filter_map(|entry| nearest(name, entry.spellings.iter().map(String::as_str)));
        let near: Vec<_> = near.collect();
        if let Some(near) = nearest(name, near) {
            let entry = of_kind
                .iter()
                .find(|entry| entry.spellings.iter().any(|spelling| spelling == near));
            suggested.extend(entry.map(|entry| entry.short_name()));
        }
    }
    if suggested.is_empty() && name.len() >= MIN_PART_BYTES {
        let contains = |entry: &&Entry| {
            entry
                .spellings
                .iter()
                .any(|spelling| spelling.strip_prefix(PREFIX).unwrap_or(spelling).contains(name))
        };
        suggested.extend(all.iter().filter(contains).map(Entry::short_name));
    }
    suggested.dedup();
    suggested.truncate(MAX_SUGGESTIONS);
    match suggested.as_slice() {
        [] => String::new(),
        [one] => format!(" (did you mean {one:?}?)"),
        several => format!(" (did you mean one of {}?)", several.join(", ")),
    }
}
