//! GitHub's expressions, `${{ … }}`, in a step's inputs.

use super::workflow::Texts;
use crate::plan::Placeholder;

/// Expressions that a path may have, and the placeholders that podkey has for them.
const EXPRESSIONS: [(&str, Placeholder); 6] = [
    ("github.repository", Placeholder::Repository),
    ("github.repository_id", Placeholder::RepositoryId),
    ("github.repository_owner", Placeholder::Owner),
    ("github.repository_owner_id", Placeholder::OwnerId),
    ("github.ref_name", Placeholder::RefName),
    ("github.job", Placeholder::Job),
];

/// The beginning of an expression.
const BEGIN: &str = "${{";

/// Values that podkey knows without running the workflow: inputs that the caller gives, and literal variables.
#[derive(Debug, Default, Clone)]
pub(super) struct Known<'a> {
    pub(super) inputs: Texts,
    /// `env`, the innermost last.
    pub(super) env: Vec<&'a Texts>,
}

impl Known<'_> {
    /// The text with the known values in place of their expressions. Other expressions stay.
    pub(super) fn filled(&self, text: &str) -> String {
        replaced(text, |inside| {
            let (context, name) = inside.split_once('.')?;
            match context.to_lowercase().as_str() {
                "inputs" => self.input(name),
                "env" => {
                    let found = self.env.iter().rev().find_map(|env| env.get(name))?;
                    (!has_expression(found)).then(|| found.clone())
                }
                _ => None,
            }
        })
    }

    fn input(&self, name: &str) -> Option<String> {
        let mut inputs = self.inputs.iter();
        inputs
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    }
}

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
    replaced(text, |inside| {
        let known = EXPRESSIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(inside));
        known.map(|(_, placeholder)| placeholder.written())
    })
}

/// The longest text that is filled in, in bytes.
const MAX_FILLED: usize = 256 * 1024;

/// The text with other texts in place of its expressions. `of` gets what is inside an expression; None leaves the expression. A text
/// that would become too long stays as it is.
fn replaced(text: &str, of: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(found) = expression(rest) {
        let at = rest.find(found).unwrap_or_default();
        out.push_str(&rest[..at]);
        out.push_str(&of(inside(found)).unwrap_or_else(|| found.to_owned()));
        rest = &rest[at + found.len()..];
        if out.len() > MAX_FILLED {
            return text.to_owned();
        }
    }
    out + rest
}

/// What is between `${{` and `}}`.
pub(super) fn inside(expression: &str) -> &str {
    expression.trim_start_matches(BEGIN).trim_end_matches("}}").trim()
}
