//! The selectors of vault-action: `*`, `**`, a field, or a path into a value.

use crate::plan::ValueStep;
use crate::text::{quoted, unquoted};

/// A selector, parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selector {
    UpperCase,
    KeepCase,
    /// `is_plain`: the variable's name can be derived from the selector.
    Value {
        at: Vec<ValueStep>,
        is_plain: bool,
    },
}

/// JSONata's operators. A name with such a character needs backticks.
const OPERATORS: &str = ".[]{}(),@#;:?+-*/%|=<>^&!~`'";

/// Parses a selector. The error is the rest of a sentence that begins with the selector.
pub(super) fn parse(written: &str) -> Result<Selector, String> {
    check_quotes(written)?;
    // vault-action removes double quotes before it parses.
    let text = written.replace('"', "");
    match text.as_str() {
        "" => return Err("which is empty".to_owned()),
        "*" => return Ok(Selector::UpperCase),
        "**" => return Ok(Selector::KeepCase),
        _ => {}
    }
    if text.contains('\\') {
        return Err("which has a backslash: podkey takes no escapes".to_owned());
    }
    let is_string = |quote| {
        written.len() > 2
            && written.starts_with(quote)
            && written.ends_with(quote)
            && written.matches(quote).count() == 2
    };
    if !text.contains('.') {
        return field(text, is_string('"'));
    }
    let (at, first_has_index) = steps(&text)?;
    Ok(Selector::Value {
        at,
        is_plain: is_string('"') || is_string('\'') || !first_has_index,
    })
}

/// Parses a selector without a dot: the whole text is the field's name.
fn field(text: String, is_quoted: bool) -> Result<Selector, String> {
    match text.chars().find(|c| "()[]`'".contains(*c)) {
        Some('(' | ')') => Err(NO_FUNCTIONS.to_owned()),
        Some('[' | ']') => Err(format!(
            "which vault-action takes for a field's name: write \"$.{} | NAME\"",
            unquoted(&text)
        )),
        Some(_) => {
            let bare: String = text.chars().filter(|c| !"`'".contains(*c)).collect();
            Err(format!(
                "whose quotes vault-action takes for a part of the field's name: write \"{} | NAME\"",
                unquoted(&bare)
            ))
        }
        None if text == "$" => Err("which is not a field: write \"$.$ | NAME\" for the whole secret".to_owned()),
        None => Ok(Selector::Value {
            is_plain: is_quoted || is_name(&text),
            at: vec![ValueStep::Key(text)],
        }),
    }
}

/// The steps of a selector with dots, and whether the first of them has an index.
fn steps(text: &str) -> Result<(Vec<ValueStep>, bool), String> {
    let mut at = Vec::new();
    let mut rest = text;
    let mut first_has_index = false;
    loop {
        let (key, after) = parse_step(rest)?;
        let before = at.len();
        at.extend(key.map(|key| ValueStep::Key(key.to_owned())));
        rest = after;
        while let Some(inside) = rest.strip_prefix('[') {
            let index = inside.split_once(']').and_then(|(index, after)| {
                rest = after;
                index.parse().ok()
            });
            match index {
                Some(index) if key.is_some() => at.push(ValueStep::Index(index)),
                _ => {
                    return Err(
                        "which has something between [ and ] that podkey does not read: write [0], [1] or [-1] after a key".to_owned(),
                    );
                }
            }
        }
        first_has_index |= before == 0 && at.len() > 1;
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => break,
            None => return Err(operator(rest)),
        }
    }
    Ok((at, first_has_index))
}

/// Double quotes may stand around the whole selector, or around a step.
fn check_quotes(written: &str) -> Result<(), String> {
    let mut parts = written.split('"');
    let mut before = parts.next().unwrap_or_default();
    while let Some(quoted) = parts.next() {
        let Some(after) = parts.next() else {
            return Err("which has a double quote that is not closed".to_owned());
        };
        let begins = before.is_empty() || before.ends_with('.');
        let ends = after.is_empty() || after.starts_with(['.', '[']);
        if !begins || !ends || quoted.is_empty() {
            return Err(
                "which has a double quote inside a name: podkey cannot name such a field, but * can".to_owned(),
            );
        }
        before = after;
    }
    Ok(())
}

/// The key of the first step (None: the step is `$`), and the text after it.
fn parse_step(rest: &str) -> Result<(Option<&str>, &str), String> {
    for quote in ['`', '\''] {
        if let Some(inside) = rest.strip_prefix(quote) {
            return match inside.split_once(quote) {
                Some((key, after)) if !key.is_empty() => Ok((Some(key), after)),
                _ => Err(format!(
                    "which has a {quote} that is not closed, or nothing between two of them"
                )),
            };
        }
    }
    let end = rest.find(|c| OPERATORS.contains(c)).unwrap_or(rest.len());
    let (key, after) = rest.split_at(end);
    match key {
        "" if rest.is_empty() || rest.starts_with('.') => Err("which has a step without a name".to_owned()),
        "" => Err(operator(rest)),
        "$" => Ok((None, after)),
        _ if key.starts_with('$') => Err(NO_FUNCTIONS.to_owned()),
        _ if key.starts_with(|c: char| c.is_ascii_digit()) => Err(format!(
            "whose step {} begins with a digit: write `{}`, or [0] for an element of a list",
            quoted(key),
            unquoted(key)
        )),
        _ => Ok((Some(key), after)),
    }
}

const NO_FUNCTIONS: &str = "which is JSONata's function or variable: podkey reads paths such as a.b, and $.$ for all";

fn operator(rest: &str) -> String {
    match rest.chars().next() {
        Some('(' | ')') => NO_FUNCTIONS.to_owned(),
        c => format!(
            "which has JSONata's operator {:?}: write backticks around a key that has it, as in a.`b-c`",
            c.unwrap_or_default()
        ),
    }
}

/// Whether JSONata reads the text as one name.
fn is_name(text: &str) -> bool {
    !text.contains(|c| OPERATORS.contains(c))
        && !text.starts_with(|c: char| c == '$' || c.is_ascii_digit())
        && !["true", "false", "null"].contains(&text)
}
