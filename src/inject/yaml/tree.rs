//! The YAML of an annotation as a small tree. Scalars keep the text that they are written with: `mode: 0400` is `0400`, not 256.
//! Anchors, aliases and tags are refused, so that a short text cannot unfold into a large tree.

use std::borrow::Cow;

use granit_parser::{Event, Parser};

/// A node of the tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Node<'a> {
    Scalar(Cow<'a, str>),
    /// No value, or a plain scalar that YAML reads as null.
    Null,
    List(Vec<Self>),
    Map(Vec<(Cow<'a, str>, Self)>),
}

/// The longest text that is parsed, in bytes.
const MAX_BYTES: usize = 64 * 1024;
const MAX_DEPTH: usize = 8;
/// The most fields in one set.
const MAX_FIELDS: usize = 64;

/// Parses one document. The error is the end of a sentence that begins with the annotation's key.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    let mut parser = Input {
        text,
        parser: Parser::new_from_str(text),
    };
    let node = loop {
        match parser.next()? {
            (Event::StreamEnd, _) => return Ok(Node::Null),
            (Event::StreamStart | Event::DocumentStart(..), _) => {}
            (event, line) => break node(&mut parser, event, line, 0)?,
        }
    };
    loop {
        match parser.next()? {
            (Event::StreamEnd, _) => return Ok(node),
            (Event::DocumentEnd, _) => {}
            (_, line) => return Err(format!("has a second document in line {line}")),
        }
    }
}

struct Input<'a> {
    text: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
}

impl<'a> Input<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), String> {
        loop {
            match self.parser.next_event() {
                None => return Ok((Event::StreamEnd, 0)),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok((event, span.start.line())),
                Some(Err(error)) => {
                    let at = error.marker();
                    return Err(broken(self.text, at.line(), at.col() + 1));
                }
            }
        }
    }
}

/// Why a text is not YAML, as the end of a sentence, for the person who wrote the text. `line` and `column` are where the parser
/// gave up; the parser's own message is in the words of programmers.
pub(crate) fn broken(text: &str, line: usize, column: usize) -> String {
    let has_tab = |line: &str| line[..line.len() - line.trim_start().len()].contains('\t');
    // The parser may have given up before the line with the tab.
    let mut near = text.lines().zip(1..).skip(line.saturating_sub(2)).take(3);
    if let Some((_, line)) = near.find(|(line, _)| has_tab(line)) {
        return format!(
            "is not valid YAML in line {line}: the line begins with a tab, and YAML takes only spaces there"
        );
    }
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let plain = written.split(['"', '\'']).step_by(2).collect::<String>();
    let what = if plain.contains("{{") {
        UNQUOTED
    } else if let Some(c @ ('[' | '{' | '"' | '\'')) = written.chars().nth(column.saturating_sub(1)) {
        return format!("is not valid YAML in line {line}, column {column}: nothing closes the {c} there");
    } else if plain.matches(": ").count() > 1 && !plain.contains('{') {
        "put a value that has a colon and a space in it in quotes"
    } else {
        "check there, and before that place, that each quote and bracket is closed, and that the fields of one entry stand below \
         each other"
    };
    format!("is not valid YAML in line {line}, column {column}: {what}")
}

/// What to do about two braces, which YAML reads as a set of fields within a set of fields.
pub(crate) const UNQUOTED: &str = "put a value that has {{ … }} in it in quotes, as in '{{ .SecretKey }}', or below its key with |, further in than the key";

fn node<'a>(input: &mut Input<'a>, event: Event<'a>, line: usize, depth: usize) -> Result<Node<'a>, String> {
    if depth > MAX_DEPTH {
        return Err(format!("is nested too deep in line {line}"));
    }
    match event {
        Event::Scalar(_, _, anchor, tag) if anchor != 0 || tag.is_some() => {
            Err(format!("has an anchor or a tag in line {line}"))
        }
        Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag) if anchor != 0 || tag.is_some() => {
            Err(format!("has an anchor or a tag in line {line}"))
        }
        Event::Scalar(text, style, ..) => Ok(match (style, &*text) {
            (granit_parser::ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Node::Null,
            _ => Node::Scalar(text),
        }),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match input.next()? {
                    (Event::SequenceEnd, _) => return Ok(Node::List(items)),
                    (event, line) => items.push(node(input, event, line, depth + 1)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
            loop {
                let key = match input.next()? {
                    (Event::MappingEnd, _) => return Ok(Node::Map(entries)),
                    (_, line) if entries.len() == MAX_FIELDS => {
                        return Err(format!("has more than {MAX_FIELDS} fields in one set, in line {line}"));
                    }
                    (Event::Scalar(key, _, 0, None), line) => {
                        if entries.iter().any(|(other, _)| *other == key) {
                            return Err(format!(
                                "has the key {} a second time in line {line}",
                                crate::inject::problem::quoted(&key)
                            ));
                        }
                        key
                    }
                    (Event::MappingStart(..), line) => {
                        return Err(format!(
                            "has two braces in line {line} that YAML reads as a set of fields: {UNQUOTED}"
                        ));
                    }
                    (_, line) => return Err(format!("has a key in line {line} that is not a plain word")),
                };
                let (event, line) = input.next()?;
                entries.push((key, node(input, event, line, depth + 1)?));
            }
        }
        _ => Err(format!("has an alias in line {line}, write the value out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Node<'_> {
        Node::Scalar(text.into())
    }

    #[test]
    fn scalars_keep_the_text_that_they_are_written_with() {
        let map = |value| Node::Map(vec![("mode".into(), value)]);
        assert_eq!(parse("mode: 0400").unwrap(), map(scalar("0400")));
        assert_eq!(parse("mode: \"0400\"").unwrap(), map(scalar("0400")));
        assert_eq!(parse("mode: 1.10").unwrap(), map(scalar("1.10")));
        assert_eq!(parse("mode: yes").unwrap(), map(scalar("yes")));
        assert_eq!(parse("mode: 'null'").unwrap(), map(scalar("null")));
        assert_eq!(parse("mode: ~").unwrap(), map(Node::Null));
        assert_eq!(parse("mode:").unwrap(), map(Node::Null));
        assert_eq!(parse("").unwrap(), Node::Null);
        assert_eq!(
            parse("- a # why\n- {b: c}\n").unwrap(),
            Node::List(vec![scalar("a"), Node::Map(vec![("b".into(), scalar("c"))])])
        );
    }

    #[test]
    fn ambiguous_yaml_is_refused_with_the_line() {
        for (text, why) in [
            ("a: &x 1\nb: *x", "line 1"),
            ("- &x a\n- *x", "anchor"),
            ("a: !!str b", "tag"),
            ("- a\n---\n- b", "second document in line 2"),
            ("a: 1\na: 2", "a second time in line 2"),
            ("? [a]\n: b", "not a plain word"),
            (
                "file: {{ .SecretKey }}",
                "has two braces in line 1 that YAML reads as a set of fields: put a value that has {{ … }} in it in quotes",
            ),
            ("- {file: {{ .SecretKey }}.env}", "has two braces in line 1"),
            (
                "- a: b\n\tc: d",
                "is not valid YAML in line 2: the line begins with a tab",
            ),
            (
                "a: b: c",
                "line 1, column 5: put a value that has a colon and a space in it in quotes",
            ),
            (
                "- a: b\n   c: d\n  e: f",
                "is not valid YAML in line 2, column 5: check there",
            ),
            ("a: [", "is not valid YAML"),
            ("a: 'b", "is not valid YAML"),
            (&format!("{}a{}", "[".repeat(20), "]".repeat(20)), "nested too deep"),
            (&"[".repeat(1000), "is not valid YAML"),
            (&"a".repeat(MAX_BYTES + 1), "longer than"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
