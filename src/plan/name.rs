//! Templates for the names of files, as in Vault's Secrets Sync
//! (<https://developer.hashicorp.com/vault/docs/sync#name-template>): `{{ .SecretKey }}`, `{{ .SecretKey | uppercase }}`,
//! `{{ .SecretPath | replace "/" "-" | lowercase }}`. Everything else in Go's templates is refused.

use std::fmt;
use std::str::FromStr;

use super::{Invalid, invalid};
use crate::text::is_printable;

/// The longest name in bytes, also after each function.
const MAX_NAME_BYTES: usize = 4000;
/// The longest argument of `replace` in bytes: a name must not grow without end.
const MAX_ARGUMENT_BYTES: usize = 64;
/// The most functions of one placeholder.
const MAX_FUNCTIONS: usize = 8;

/// A name with any number of placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameTemplate {
    pieces: Vec<NamePiece>,
}

/// A part of a [`NameTemplate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamePiece {
    /// Text as written, without `{{`.
    Text(String),
    /// A placeholder to fill in.
    Placeholder {
        /// The name, such as `SecretKey`.
        name: String,
        /// The functions that change the value, in this order.
        functions: Vec<Function>,
    },
}

/// A change to the value of a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Function {
    /// `uppercase`
    Uppercase,
    /// `lowercase`
    Lowercase,
    /// `replace "from" "to"`: every `from` becomes `to`.
    Replace {
        /// The text to replace. Not empty.
        from: String,
        /// The replacement. May be empty.
        to: String,
    },
}

impl Function {
    fn apply(&self, text: &str) -> String {
        match self {
            Self::Uppercase => text.to_uppercase(),
            Self::Lowercase => text.to_lowercase(),
            Self::Replace { from, to } => text.replace(from, to),
        }
    }
}

/// A value after all functions of its placeholder.
pub(crate) fn applied(value: &str, functions: &[Function]) -> Result<String, Invalid> {
    let mut text = value.to_owned();
    for function in functions {
        if text.len() > MAX_NAME_BYTES {
            break;
        }
        text = function.apply(&text);
    }
    match text.len() > MAX_NAME_BYTES {
        true => invalid(format!("makes a name of more than {MAX_NAME_BYTES} bytes")),
        false => Ok(text),
    }
}

impl NameTemplate {
    /// Texts and placeholders, in their order.
    pub(crate) fn pieces(&self) -> &[NamePiece] {
        &self.pieces
    }
}

impl FromStr for NameTemplate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_NAME_BYTES {
            return invalid(format!("is longer than {MAX_NAME_BYTES} bytes"));
        }
        if let Some(c) = text.chars().find(|c| !is_printable(*c)) {
            return invalid(format!("has the character {c:?}, which no name may have"));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                pieces.push(NamePiece::Text(before.to_owned()));
            }
            let Some((words, after)) = words(after) else {
                return invalid("has a {{ without its }}");
            };
            pieces.push(placeholder(&words)?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(NamePiece::Text(rest.to_owned()));
        }
        Ok(Self { pieces })
    }
}

/// A word between `{{` and `}}`.
#[derive(Debug, PartialEq)]
enum TemplateWord<'a> {
    Plain(&'a str),
    /// Text in double quotes without a double quote, or in backquotes without a backquote.
    Text(&'a str),
    Pipe,
}

/// The words up to `}}`, and the text behind `}}`. None without `}}`.
fn words(text: &str) -> Option<(Vec<TemplateWord<'_>>, &str)> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(behind) = rest.strip_prefix("}}") {
            return Some((words, behind));
        }
        let first = rest.chars().next()?;
        let behind = match first {
            '|' => {
                words.push(TemplateWord::Pipe);
                &rest[1..]
            }
            '"' | '`' => {
                let (inside, behind) = rest[1..].split_once(first)?;
                words.push(TemplateWord::Text(inside));
                behind
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "|\"`".contains(c));
                let word = &rest[..end.unwrap_or(rest.len())];
                let end = word.find("}}").unwrap_or(word.len());
                words.push(TemplateWord::Plain(&rest[..end]));
                &rest[end..]
            }
        };
        rest = behind.trim_start();
    }
}

fn placeholder(words: &[TemplateWord<'_>]) -> Result<NamePiece, Invalid> {
    const SHAPE: &str =
        "has a {{ }} that is not a placeholder such as {{ .SecretKey }} or {{ .SecretKey | uppercase }}";
    let mut parts = words.split(|word| *word == TemplateWord::Pipe);
    let name = match parts.next() {
        Some([TemplateWord::Plain(name)]) => name.strip_prefix('.').filter(|name| !name.is_empty()),
        _ => None,
    };
    let Some(name) = name else { return invalid(SHAPE) };
    let function = |words: &[TemplateWord<'_>]| match words {
        [TemplateWord::Plain("uppercase")] => Ok(Function::Uppercase),
        [TemplateWord::Plain("lowercase")] => Ok(Function::Lowercase),
        [
            TemplateWord::Plain("replace"),
            TemplateWord::Text(from),
            TemplateWord::Text(to),
        ] if !from.is_empty()
                && from.len().max(to.len()) <= MAX_ARGUMENT_BYTES
                // The replacement must never make a placeholder.
                && !from.contains(['{', '}'])
                && !to.contains(['{', '}']) =>
        {
            Ok(Function::Replace {
                from: (*from).to_owned(),
                to: (*to).to_owned(),
            })
        }
        _ => invalid("has a function that is none of uppercase, lowercase, replace \"from\" \"to\""),
    };
    let functions = parts.map(function).collect::<Result<Vec<_>, _>>()?;
    if functions.len() > MAX_FUNCTIONS {
        return invalid(format!("has more than {MAX_FUNCTIONS} functions in one placeholder"));
    }
    Ok(NamePiece::Placeholder {
        name: name.to_owned(),
        functions,
    })
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| piece.fmt(f))
    }
}

impl fmt::Display for NamePiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Placeholder { name, functions } => {
                write!(f, "{{{{ .{name}")?;
                functions.iter().try_for_each(|function| write!(f, " | {function}"))?;
                f.write_str(" }}")
            }
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A text with a double quote can only have been in backquotes.
        let quote = |text: &str| if text.contains('"') { '`' } else { '"' };
        match self {
            Self::Uppercase => f.write_str("uppercase"),
            Self::Lowercase => f.write_str("lowercase"),
            Self::Replace { from, to } => {
                let (a, b) = (quote(from), quote(to));
                write!(f, "replace {a}{from}{a} {b}{to}{b}")
            }
        }
    }
}
