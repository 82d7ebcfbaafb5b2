//! `parseYAML`: reads YAML as yaml.v2 does, as far as secrets need it. Anchors, aliases, tags and merges are refused.

use std::cmp::Ordering;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, StrInput, options};

use crate::template::error::Fault;
use crate::template::run::value::{GoText, GoValue};
use crate::template::yaml::order;
use crate::template::yaml::scalar::value_or_text;

/// How deep values may be in each other.
const MAX_DEPTH: usize = 64;
/// The most values of one text: they weigh more than their text.
const MAX_VALUES: usize = 50_000;

struct YamlReader<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    secret: bool,
    values: usize,
}

/// Reads the first document.
pub(crate) fn parse(text: &[u8], secret: bool) -> Result<GoValue, Fault> {
    let text = std::str::from_utf8(text).map_err(|_| problem("the text is not UTF-8"))?;
    let mut reader = YamlReader {
        text,
        parser: Parser::new_from_str_with_options(text, options! { emit_comments: false }),
        secret,
        values: 0,
    };
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::StreamEnd | Event::DocumentEnd => return Ok(GoValue::Null),
            event => return reader.node(event, 0),
        }
    }
}

fn problem(message: &str) -> Fault {
    Fault::value(format!("parseYAML: {message}"))
}

impl<'a> YamlReader<'a> {
    fn next(&mut self) -> Result<Event<'a>, Fault> {
        match self.parser.next_event() {
            None => Ok(Event::StreamEnd),
            // A block that ends the text without a line break has none; the parser adds one.
            Some(Ok((
                Event::Scalar(text, style @ (ScalarStyle::Literal | ScalarStyle::Folded), anchor, tag),
                span,
            ))) if !self.text.ends_with('\n') && span.end.byte_offset() >= Some(self.text.len()) => {
                let text = text
                    .strip_suffix('\n')
                    .map_or_else(|| text.clone(), |text| text.to_owned().into());
                Ok(Event::Scalar(text, style, anchor, tag))
            }
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(problem(&format!(
                "the text is not YAML in its line {}",
                error.marker().line()
            ))),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<GoValue, Fault> {
        if depth > MAX_DEPTH {
            return Err(problem(&format!("the YAML is more than {MAX_DEPTH} values deep")));
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Fault::bound(format!(
                "parseYAML: the YAML has more than {MAX_VALUES} values"
            )));
        }
        match event {
            Event::Scalar(_, _, anchor, ref tag)
            | Event::SequenceStart(_, anchor, ref tag)
            | Event::MappingStart(_, anchor, ref tag)
                if anchor != 0 || tag.is_some() =>
            {
                Err(problem("anchors and tags are not offered"))
            }
            Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(value_or_text(&text, self.secret)),
            Event::Scalar(text, ..) => Ok(GoValue::Text(GoText::new(text.as_bytes(), self.secret))),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => return Ok(GoValue::List(Rc::new(list))),
                        event => list.push(self.node(event, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.mapping(depth),
            _ => Err(problem("aliases are not offered")),
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<GoValue, Fault> {
        let mut entries: Vec<(GoValue, GoValue)> = Vec::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => break,
                Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                    return Err(problem("merges are not offered"));
                }
                event => self.node(event, depth + 1)?,
            };
            if matches!(key, GoValue::List(_) | GoValue::AnyMap(_)) {
                return Err(problem("a key is a list or a map"));
            }
            // The names of fields are not secret.
            let key = if let GoValue::Text(t) = &key {
                GoValue::text(t.bytes(), false)
            } else {
                key
            };
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            entries.push((key, value));
        }
        entries.sort_by(|(a, _), (b, _)| order(a, b));
        // Of equal keys the last one counts.
        entries.reverse();
        entries.dedup_by(|(a, _), (b, _)| order(a, b).is_eq());
        entries.reverse();
        Ok(GoValue::AnyMap(Rc::new(entries)))
    }
}

/// The order in which Go prints and ranges: texts by their bytes. Go orders types by their place in memory; this is the order
/// of `bao agent` 2.7.2.
fn order(a: &GoValue, b: &GoValue) -> Ordering {
    match (a, b) {
        (GoValue::Text(a), GoValue::Text(b)) => a.bytes().cmp(b.bytes()),
        _ => rank(a).cmp(&rank(b)).then_with(|| order::compare(a, b)),
    }
}

fn rank(value: &GoValue) -> u8 {
    match value {
        GoValue::Invalid | GoValue::Null => 0,
        GoValue::Text(_) => 1,
        GoValue::Int(_) => 2,
        GoValue::Bool(_) => 3,
        _ => 4,
    }
}
