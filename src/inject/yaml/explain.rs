//! What the YAML library finds wrong with a manifest or the operator's config, in words for the person who wrote the file: the
//! place, the key, and what to write. The library's own words are for programmers.

use serde_saphyr::{Error, Location};

use crate::inject::problem::{did_you_mean, one_of, quoted, unquoted};
use crate::inject::yaml::tree;

/// One line, which begins with the place in the text if the library reports a place.
pub(crate) fn explain(error: &Error, text: &str) -> String {
    if let Error::WithSnippet { error, .. } = error {
        return explain(error, text);
    }
    let at = error.location().filter(|at| *at != Location::UNKNOWN);
    let (line, column) = at.map_or((0, 0), |at| (number(at.line()), number(at.column())));
    let place = match line {
        0 => String::new(),
        _ => format!("line {line}, column {column}: "),
    };
    let has_braces = text
        .lines()
        .nth(line.saturating_sub(1))
        .is_some_and(|line| line.contains("{{"));
    let needed = |what: &str| match key(text, line, column) {
        _ if has_braces => tree::UNQUOTED.to_owned(),
        Some(key) => format!("{key} has a value of the wrong type: write {what}"),
        None => format!("the value has the wrong type: write {what}"),
    };
    let why = match error {
        Error::SerdeUnknownField { field, expected, .. } => format!(
            "{} is not a key here{}: the keys are {}",
            quoted(field),
            did_you_mean(field, expected.iter().copied()),
            expected.join(", ")
        ),
        Error::SerdeMissingField { field, .. } => format!("the key {field} is missing"),
        Error::SerdeUnknownVariant { variant, expected, .. } => one_of(variant, expected),
        Error::DuplicateMappingKey { key, .. } => match key {
            Some(key) => format!("the key {} is there twice: remove one", quoted(key)),
            None => "a key is there twice: remove one".to_owned(),
        },
        // The message of one of podkey's own parsers. (The library's other messages of this kind are about the text as YAML.)
        Error::Message { msg, .. } if is_ours(msg) => match key(text, line, column) {
            Some(key) if !msg.starts_with(&key) => format!("{key} {msg}"),
            _ => msg.clone(),
        },
        Error::MultipleDocuments { .. } => "a second document begins: write only one".to_owned(),
        Error::UnknownAnchor { .. } => "a reference (*name) has no anchor (&name) before it".to_owned(),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "it is too large, or nested too deeply".to_owned(),
        Error::Unexpected { expected, .. } => needed(kind(expected)),
        Error::SerdeInvalidType { expected, .. }
        | Error::SerdeInvalidValue { expected, .. }
        | Error::SerdeInvalidLength { expected, .. } => needed(kind(expected)),
        Error::InvalidScalar { ty, .. } => needed(kind(ty)),
        Error::InvalidBooleanStrict { .. } => needed("true or false"),
        Error::NullIntoString { .. } | Error::UnexpectedMappingEnd { .. } | Error::UnexpectedSequenceEnd { .. } => {
            needed("a value, or remove the key")
        }
        _ if line > 0 => return format!("it {}", tree::broken(text, line, column)),
        _ => "it is not valid YAML".to_owned(),
    };
    format!("{place}{}", on_one_line(&why))
}

fn number(n: impl TryInto<usize>) -> usize {
    n.try_into().unwrap_or_default()
}

/// Whether a message comes from one of podkey's own parsers, whose errors reach the library as text: patterns, quantities, empty
/// lists of rules and policies.
fn is_ours(message: &str) -> bool {
    ["is ", "allow is ", "policy is ", "vaultK8s is "]
        .iter()
        .any(|start| message.starts_with(start))
}

/// The text with its control characters escaped, which would begin new lines.
fn on_one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c.is_control() {
            true => c.escape_debug().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect()
}

/// What to write where the library expected a value of this kind.
fn kind(expected: &str) -> &'static str {
    let expected = expected.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| expected.contains(word));
    if has(&["sequence", "array", "list"]) {
        "a list, such as [a, b]"
    } else if has(&["map", "struct"]) {
        "fields below it, such as {a: b}"
    } else if has(&["bool"]) {
        "true or false"
    } else if has(&["i64", "u64", "integer", "i32", "u32"]) {
        "a whole number"
    } else {
        "one text, in quotes"
    }
}

/// The key whose value stands at this place: the last key in front of the place in its line, or at the end of a line above.
fn key(text: &str, line: usize, column: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let (own, above) = lines.split_last()?;
    let mut before: String = own.chars().take(column.saturating_sub(1)).collect();
    // For a missing value the library reports the place of the colon.
    if own.chars().nth(column.saturating_sub(1)) == Some(':') {
        before.push_str(": ");
    }
    let above = above
        .iter()
        .rev()
        .map(|line| line.trim_end())
        .find(|line| !line.is_empty());
    // For a missing value the library may report the place of the key.
    let at_key = own.chars().skip(column.saturating_sub(1)).collect::<String>();
    let ending = above.filter(|line| line.ends_with(':'));
    last_key(&before)
        .or_else(|| ending.and_then(|line| last_key(&format!("{line} "))))
        .or_else(|| last_key(&at_key))
        .map(|key| unquoted(&key))
}

/// `b` of `a: {b: `.
fn last_key(text: &str) -> Option<String> {
    let end = text.rfind(": ")?;
    let start = text[..end]
        .rfind(|c: char| c.is_whitespace() || "{[,".contains(c))
        .map_or(0, |at| at + 1);
    let key = text[start..end].trim_matches(['"', '\'', '-']);
    (!key.is_empty()).then(|| key.to_owned())
}
