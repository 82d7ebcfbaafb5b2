//! The YAML of an annotation as a small tree whose scalars keep the text they were written with: `mode: 0400` is `0400`
//! here, not 256. Anchors, aliases and tags are refused, so a short text cannot unfold into a large one.

use std::borrow::Cow;

use granit_parser::{Event, Parser};

/// A node of the tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node<'a> {
    Scalar(Cow<'a, str>),
    /// A plain scalar that YAML reads as null, or nothing at all.
    Null,
    List(Vec<Self>),
    Map(Vec<(Cow<'a, str>, Self)>),
}

/// The longest text that is looked at, in bytes.
const MAX_BYTES: usize = 64 * 1024;
const MAX_DEPTH: usize = 8;

/// Parses one document. The error ends a sentence that begins with the annotation's key.
pub(super) fn parse(text: &str) -> Result<Node<'_>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    let mut parser = Parser::new_from_str(text);
    let node = loop {
        match next(&mut parser)? {
            (Event::StreamEnd, _) => return Ok(Node::Null),
            (Event::StreamStart | Event::DocumentStart(..), _) => {}
            (event, line) => break node(&mut parser, event, line, 0)?,
        }
    };
    loop {
        match next(&mut parser)? {
            (Event::StreamEnd, _) => return Ok(node),
            (Event::DocumentEnd, _) => {}
            (_, line) => return Err(format!("has a second document in line {line}")),
        }
    }
}

type Input<'a> = Parser<'a, granit_parser::StrInput<'a>>;

fn next<'a>(parser: &mut Input<'a>) -> Result<(Event<'a>, usize), String> {
    loop {
        match parser.next_event() {
            None => return Ok((Event::StreamEnd, 0)),
            Some(Ok((Event::Comment(..), _))) => {}
            Some(Ok((event, span))) => return Ok((event, span.start.line())),
            Some(Err(error)) => {
                let at = error.marker();
                return Err(format!(
                    "is no YAML: {} in line {}, column {}",
                    error.info(),
                    at.line(),
                    at.col() + 1
                ));
            }
        }
    }
}

fn node<'a>(parser: &mut Input<'a>, event: Event<'a>, line: usize, depth: usize) -> Result<Node<'a>, String> {
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
                match next(parser)? {
                    (Event::SequenceEnd, _) => return Ok(Node::List(items)),
                    (event, line) => items.push(node(parser, event, line, depth + 1)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
            loop {
                let key = match next(parser)? {
                    (Event::MappingEnd, _) => return Ok(Node::Map(entries)),
                    (Event::Scalar(key, _, 0, None), line) => {
                        if entries.iter().any(|(other, _)| *other == key) {
                            return Err(format!(
                                "has the key {} a second time in line {line}",
                                super::problem::quoted(&key)
                            ));
                        }
                        key
                    }
                    (_, line) => return Err(format!("has a key in line {line} that is no plain word")),
                };
                let (event, line) = next(parser)?;
                entries.push((key, node(parser, event, line, depth + 1)?));
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
    fn scalars_keep_their_text() {
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
    fn what_could_surprise_is_refused_with_its_line() {
        for (text, why) in [
            ("a: &x 1\nb: *x", "line 1"),
            ("- &x a\n- *x", "anchor"),
            ("a: !!str b", "tag"),
            ("- a\n---\n- b", "second document in line 2"),
            ("a: 1\na: 2", "a second time in line 2"),
            ("? [a]\n: b", "no plain word"),
            ("a: [", "is no YAML"),
            ("a: 'b", "is no YAML"),
            (&format!("{}a{}", "[".repeat(20), "]".repeat(20)), "nested too deep"),
            (&"[".repeat(1000), "is no YAML"),
            (&"a".repeat(MAX_BYTES + 1), "longer than"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
