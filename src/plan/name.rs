//! Templates for the names of files, as in Vault's Secrets Sync
//! (<https://developer.hashicorp.com/vault/docs/sync#name-template>): `{{ .SecretKey }}`, `{{ .SecretKey | uppercase }}`,
//! `{{ .SecretPath | replace "/" "-" | lowercase }}`. Everything else in Go's templates is refused.

use std::fmt;
use std::str::FromStr;

use super::{Destination, Invalid, invalid};
use crate::text::{is_printable, quoted};

/// The longest name in bytes, also after each function.
const MAX_NAME_BYTES: usize = 4000;
/// The longest argument of `replace` in bytes: a name must not grow without end.
const MAX_ARGUMENT_BYTES: usize = 64;
/// The most functions of one placeholder.
const MAX_FUNCTIONS: usize = 8;

/// A template for the names of files with one field each: at least one `{{ .SecretKey }}`, which stands for the name of the field,
/// and no other placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldName(NameTemplate);

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

impl FieldName {
    /// The placeholder that stands for the name of the field.
    pub(crate) const PLACEHOLDER: &str = "SecretKey";

    /// The directory of all these files, below [`super::SECRETS_DIR`]. "" is [`super::SECRETS_DIR`] itself.
    pub(crate) fn directory(&self) -> &str {
        match self.0.pieces.first() {
            Some(NamePiece::Text(text)) => text.rsplit_once('/').map_or("", |(directory, _)| directory),
            _ => "",
        }
    }

    /// Whether the file of a field could have this path: the path begins and ends like the template.
    pub(crate) fn may_make(&self, path: &str) -> bool {
        let text = |piece: Option<&'_ NamePiece>| match piece {
            Some(NamePiece::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let (beginning, end) = (text(self.0.pieces.first()), text(self.0.pieces.last()));
        let middle = path.strip_prefix(&beginning).and_then(|rest| rest.strip_suffix(&end));
        middle.is_some_and(|middle| !middle.contains('/'))
    }

    /// The destination of the file for this field: always below [`super::SECRETS_DIR`], in the directory of the template. The error:
    /// the field's name cannot be part of a file name. (A slash in the name would choose another directory.)
    pub(crate) fn of(&self, field: &str) -> Result<Destination, Invalid> {
        let name = self.filled(|functions| match applied(field, functions)? {
            part if part.contains('/') => invalid("has a slash, and cannot be part of a file name"),
            part => Ok(part),
        })?;
        match name.parse()? {
            file @ Destination::Relative(_) if file.is_reserved() => {
                invalid("makes a name that podkey keeps for itself")
            }
            file @ Destination::Relative(_) => Ok(file),
            Destination::Absolute(_) | Destination::EachField(_) => invalid("does not make a plain file name"),
        }
    }

    fn filled(&self, part: impl Fn(&[Function]) -> Result<String, Invalid>) -> Result<String, Invalid> {
        let mut name = String::new();
        for piece in &self.0.pieces {
            match piece {
                NamePiece::Text(text) => name.push_str(text),
                NamePiece::Placeholder { functions, .. } => name.push_str(&part(functions)?),
            }
        }
        Ok(name)
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

impl FromStr for FieldName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let template: NameTemplate = text.parse()?;
        let mut found = false;
        for piece in &template.pieces {
            match piece {
                NamePiece::Text(text) if found && text.contains('/') => {
                    return invalid(
                        "has {{ .SecretKey }} in a directory's name: only the name of the file may have {{ .SecretKey }}",
                    );
                }
                NamePiece::Placeholder { name, .. } if name != Self::PLACEHOLDER => {
                    return invalid(format!("has the placeholder {}, which is not .SecretKey", quoted(name)));
                }
                NamePiece::Placeholder { .. } => found = true,
                NamePiece::Text(_) => {}
            }
        }
        if !found {
            return invalid("has no {{ .SecretKey }}");
        }
        // The text around the field's name must make a valid name for every field.
        let template = Self(template);
        template.filled(|_| Ok("x".to_owned()))?.parse::<Destination>()?;
        Ok(template)
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str, field: &str) -> Result<String, Invalid> {
        match text.parse::<Destination>()? {
            Destination::EachField(name) => name.of(field).map(|file| file.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_matches_a_template_by_its_beginning_and_its_end() {
        for (template, place, may) in [
            ("web/A_{{ .SecretKey | uppercase }}.txt", "web/A_FOO.txt", true),
            ("web/A_{{ .SecretKey | uppercase }}.txt", "web/A_.txt", true),
            ("web/A_{{ .SecretKey }}.txt", "web/B_FOO.txt", false),
            ("web/A_{{ .SecretKey }}.txt", "web/A_FOO", false),
            ("web/{{ .SecretKey }}", "web/a/b", false),
            ("a{{ .SecretKey }}a", "a", false),
            ("{{ .SecretKey }}", "foo", true),
        ] {
            let Ok(Destination::EachField(name)) = template.parse() else {
                panic!("{template}");
            };
            assert_eq!(name.may_make(place), may, "{template} {place}");
        }
    }

    #[test]
    fn the_file_of_a_field_stays_in_the_directory_of_the_template() {
        let text = "web/VAULT_{{ .SecretKey | uppercase }}.txt";
        assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        assert_eq!(name(text, "foo").unwrap(), "web/VAULT_FOO.txt");
        assert_eq!(name("{{.SecretKey}}", "Foo").unwrap(), "Foo");
        assert_eq!(name("{{ .SecretKey | lowercase}}", "Foo").unwrap(), "foo");
        let replaced = "{{ .SecretKey|replace \"/\" \"-\" | replace `.` \"\"}}";
        assert_eq!(name(replaced, "a/b.c").unwrap(), "a-bc");
        for field in [
            "",
            ".",
            "..",
            "a/b",
            "/etc/passwd",
            "a\0b",
            "a:b",
            "{{ .SecretKey }}",
            "..data",
            "..",
            ".status.json",
        ] {
            assert!(name("{{ .SecretKey }}", field).is_err(), "{field:?}");
        }
        // podkey reserves names only in the first directory.
        assert_eq!(
            name("web/{{ .SecretKey }}", ".status.json").unwrap(),
            "web/.status.json"
        );
    }

    #[test]
    fn a_template_with_anything_but_the_field_s_name_is_refused() {
        for (bad, why) in [
            ("/tmp/{{ .SecretKey }}", "a mount of its own"),
            ("{{ .SecretKey", "without its }}"),
            ("{{ .SecretKey }", "without its }}"),
            ("{{ .SecretKey | replace \"a }}", "without its }}"),
            ("{{ .Password }}", "\"Password\", which is not .SecretKey"),
            ("{{ .SecretKey | sh }}", "has a function that is none of"),
            ("{{ .SecretKey | }}", "has a function that is none of"),
            (
                "{{ .SecretKey | replace \"\" \"x\" }}",
                "has a function that is none of",
            ),
            ("{{ .SecretKey | replace \"a\" }}", "has a function that is none of"),
            ("{{ .SecretKey | replace a b }}", "has a function that is none of"),
            (
                "{{ .SecretKey | replace \"a\" \"{{ .SecretKey }}\" }}",
                "has a function that is none of",
            ),
            ("{{ .SecretKey uppercase }}", "is not a placeholder"),
            ("{{ SecretKey }}", "is not a placeholder"),
            ("{{ . }}", "is not a placeholder"),
            ("{{}}", "is not a placeholder"),
            ("{{ .SecretKey }}/x", "in a directory's name"),
            ("{{ .SecretKey }}x/y", "in a directory's name"),
            ("../{{ .SecretKey }}", "has a segment . or .."),
            ("a//{{ .SecretKey }}", "has an empty segment"),
            ("a:{{ .SecretKey }}", "has the character ':'"),
            ("{{ .SecretKey }}\n", "has the character '\\n'"),
        ] {
            let error = bad.parse::<Destination>().expect_err(bad).to_string();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
        let many = format!("{{{{ .SecretKey {} }}}}", "| uppercase ".repeat(9));
        assert!(many.parse::<FieldName>().is_err());
    }

    #[test]
    fn a_name_does_not_grow_without_end() {
        let grow = format!("| replace \"a\" \"{}\" ", "a".repeat(64)).repeat(8);
        let text = format!("{{{{ .SecretKey {grow}}}}}");
        assert!(text.parse::<FieldName>().unwrap().of("a").is_err());
    }

    proptest! {
        #[test]
        fn every_field_has_its_file_in_the_directory_of_the_template(
            text in "([a-z.]{1,3}/)?[a-z._-]{0,3}\\{\\{ ?\\.SecretKey( ?\\| (uppercase|lowercase|replace \"[a-z/.]\" \"[A-Z/.]?\")){0,2} ?\\}\\}[a-z.]{0,3}",
            field in prop_oneof!["[a-zA-Z./_-]{0,6}", ".{0,6}"],
        ) {
            let Ok(Destination::EachField(name)) = text.parse::<Destination>() else { return Ok(()) };
            prop_assert_eq!(&name.to_string().parse::<FieldName>().unwrap(), &name);
            if let Ok(file) = name.of(&field) {
                let Destination::Relative(path) = &file else { panic!("{file:?}") };
                let directory = |path: &str| path.rsplit_once('/').map(|(directory, _)| directory.to_owned());
                let sample = name.filled(|_| Ok("x".to_owned())).unwrap();
                prop_assert_eq!(directory(path), directory(&sample));
                prop_assert!(path.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
                prop_assert!(!file.is_reserved());
            }
        }

        #[test]
        fn no_template_panics(text in ".{0,20}(\\{\\{.{0,20}){0,3}(\\}\\})?.{0,5}", field in ".{0,5}") {
            if let Ok(name) = text.parse::<FieldName>() {
                let _ = name.of(&field);
                prop_assert_eq!(name.to_string().parse::<FieldName>().unwrap(), name);
            }
        }
    }
}
