//! GitHub's expressions, `${{ … }}`, in a step's inputs.

use crate::plan::Placeholder;

/// Expressions that a path may have, and the placeholders that podkey has for them.
const EXPRESSIONS: [(&str, Placeholder); 4] = [
    ("github.repository", Placeholder::Repository),
    ("github.repository_owner", Placeholder::Owner),
    ("github.ref_name", Placeholder::RefName),
    ("github.job", Placeholder::Job),
];

/// The beginning of an expression.
const BEGIN: &str = "${{";

/// Whether an expression begins in a text.
pub(super) fn has_expression(text: &str) -> bool {
    text.contains(BEGIN)
}

/// The entries as vault-action splits them, except that a `;` inside an expression does not end an entry.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut entries = vec![String::new()];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match rest.starts_with(BEGIN).then(|| rest.find("}}")).flatten() {
            Some(end) => &rest[..end + 2],
            None => &rest[..c.len_utf8()],
        };
        rest = &rest[taken.len()..];
        match taken {
            ";" => entries.push(String::new()),
            _ => {
                if let Some(last) = entries.last_mut() {
                    last.push_str(taken);
                }
            }
        }
    }
    entries.retain(|entry| !entry.trim().is_empty());
    entries.iter().map(|entry| entry.trim().to_owned()).collect()
}

/// Where the path of an entry ends: at the first white space outside of expressions.
pub(super) fn end_of_path(entry: &str) -> usize {
    let mut at = 0;
    while let Some(c) = entry[at..].chars().next().filter(|c| !c.is_whitespace()) {
        at += match entry[at..].starts_with(BEGIN) {
            true => expression(&entry[at..]).map_or(1, str::len),
            false => c.len_utf8(),
        };
    }
    at
}

/// The first expression in a text.
pub(super) fn expression(text: &str) -> Option<&str> {
    let begin = text.find(BEGIN)?;
    let end = text[begin..].find("}}").map_or(text.len(), |end| begin + end + 2);
    Some(&text[begin..end])
}

/// The text with a placeholder in place of each expression that podkey knows.
pub(super) fn with_placeholders(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(found) = expression(rest) {
        let at = rest.find(found).unwrap_or_default();
        out.push_str(&rest[..at]);
        let inside = found.trim_start_matches(BEGIN).trim_end_matches("}}").trim();
        let known = EXPRESSIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(inside));
        match known {
            Some((_, placeholder)) => out.push_str(&placeholder.written()),
            None => out.push_str(found),
        }
        rest = &rest[at + found.len()..];
    }
    out + rest
}
