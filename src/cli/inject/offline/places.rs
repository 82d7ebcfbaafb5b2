//! Where the parts of a manifest stand in its text, for messages. The values come from another parser, which knows no places.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Place {
    fn of(span: Span) -> Self {
        Self {
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }
}

/// A value, with the places of all that is in it. An alias has none of its anchor's places.
#[derive(Debug)]
pub(super) struct PlacedNode<'t> {
    pub(super) at: Place,
    content: Content<'t>,
}

#[derive(Debug)]
enum Content<'t> {
    /// `is_literal`: the lines of the text are lines of the file, from the line below the key.
    Text {
        text: Cow<'t, str>,
        is_literal: bool,
    },
    Map(Vec<Entry<'t>>),
    List(Vec<PlacedNode<'t>>),
    Other,
}

#[derive(Debug)]
struct Entry<'t> {
    key: Cow<'t, str>,
    at: Place,
    value: PlacedNode<'t>,
}

/// No manifest is deeper. A deeper text has no places.
const MAX_DEPTH: usize = 100;

/// The documents of a text with a value in it, in order. Empty: the text is broken, or too deep.
pub(super) fn documents(text: &str) -> Vec<PlacedNode<'_>> {
    let mut events = Events(Parser::new_from_str(text));
    let mut documents = Vec::new();
    while let Some((event, span)) = events.next() {
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => return documents,
            event => {
                let is_null = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..)
                    if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"));
                let Some(node) = events.node(event, span, 0) else { break };
                if !is_null {
                    documents.push(node);
                }
            }
        }
    }
    Vec::new()
}

struct Events<'t>(Parser<'t, StrInput<'t>>);

impl<'t> Events<'t> {
    /// None: the text is broken, or ended.
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        loop {
            match self.0.next_event()?.ok()? {
                (Event::Comment(..), _) => {}
                next => return Some(next),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Option<PlacedNode<'t>> {
        if depth > MAX_DEPTH {
            return None;
        }
        let content = match event {
            Event::Scalar(text, style, ..) => Content::Text {
                text,
                is_literal: style == ScalarStyle::Literal,
            },
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Content::List(items),
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::MappingEnd {
                        break Content::Map(entries);
                    }
                    let key = self.node(event, span, depth + 1)?;
                    let (event, span) = self.next()?;
                    let value = self.node(event, span, depth + 1)?;
                    if let Content::Text { text, .. } = key.content {
                        let (key, at) = (text, key.at);
                        entries.push(Entry { key, at, value });
                    }
                }
            }
            _ => Content::Other,
        };
        Some(PlacedNode {
            at: Place::of(span),
            content,
        })
    }
}

impl<'t> PlacedNode<'t> {
    /// The value at a JSON pointer whose keys have no `/` and no `~` in them.
    pub(super) fn find(&self, pointer: &str) -> Option<&Self> {
        let mut node = self;
        for key in pointer.split('/').skip(1) {
            node = match &node.content {
                Content::Map(_) => &node.entry(key)?.value,
                Content::List(items) => items.get(key.parse::<usize>().ok()?)?,
                Content::Text { .. } | Content::Other => return None,
            };
        }
        Some(node)
    }

    fn entry(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    fn entries(&self) -> &[Entry<'t>] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Text { .. } | Content::List(_) | Content::Other => &[],
        }
    }

    /// Where the key of a map stands.
    pub(super) fn key(&self, key: &str) -> Option<Place> {
        self.entry(key).map(|entry| entry.at)
    }

    /// Where the first key stands that begins with `prefix`.
    pub(super) fn first_key(&self, prefix: &str) -> Option<Place> {
        let mut entries = self.entries().iter();
        entries
            .find(|entry| entry.key.starts_with(prefix))
            .map(|entry| entry.at)
    }

    /// Where the first key stands, at any depth, that is as wanted.
    pub(super) fn first_key_below(&self, is_wanted: &dyn Fn(&str) -> bool) -> Option<Place> {
        match &self.content {
            Content::Map(entries) => entries.iter().find_map(|entry| match is_wanted(&entry.key) {
                true => Some(entry.at),
                false => entry.value.first_key_below(is_wanted),
            }),
            Content::List(items) => items.iter().find_map(|item| item.first_key_below(is_wanted)),
            Content::Text { .. } | Content::Other => None,
        }
    }

    /// Where a place of the annotations stands, such as `podkey.dev/files[1].mode`: the entry of the list if its text is written line by
    /// line, or else the key.
    pub(super) fn annotation(&self, place: &str) -> Option<Place> {
        let is_in = |entry: &&Entry<'t>| {
            let rest = place.strip_prefix(&*entry.key);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.', ' ']))
        };
        let entry = self.entries().iter().find(is_in)?;
        let index = place[entry.key.len()..].strip_prefix('[');
        let index = index.and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
        Some(index.and_then(|index| entry.item(index)).unwrap_or(entry.at))
    }
}

impl Entry<'_> {
    /// Where an item of the list begins that the text of this entry holds.
    fn item(&self, index: usize) -> Option<Place> {
        let Content::Text { text, is_literal: true } = &self.value.content else {
            return None;
        };
        let inner = documents(text);
        let item = inner.first()?.find(&format!("/{index}"))?;
        // The text begins below the line with the key and `|`, in a column that the text does not tell.
        Some(Place {
            line: self.at.line + item.at.line,
            column: 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{feff}# first\n---\n---\na:\n  podkey.dev/files: | # list\n\n    # why\n    - {secret: a}\n    - secret: b\n      \
        mode: x\n  podkey.dev/env: 'x'\n---\n~\n---\n- {b: 1}\n";

    #[test]
    fn keys_and_entries_of_a_text_have_places() {
        let documents = documents(TEXT);
        assert_eq!(documents.len(), 2);
        let annotations = documents[0].find("/a").unwrap();
        let line = |place: &str| annotations.annotation(place).map(|at| at.line);
        assert_eq!(line("podkey.dev/files"), Some(5));
        assert_eq!(line("podkey.dev/files[0].secret"), Some(8));
        assert_eq!(line("podkey.dev/files[1].mode"), Some(9));
        assert_eq!(line("podkey.dev/files[2]"), Some(5));
        assert_eq!(line("podkey.dev/env[0]"), Some(11));
        assert_eq!(line("podkey.dev/file"), None);
        assert_eq!(annotations.key("podkey.dev/env"), Some(Place { line: 11, column: 3 }));
        assert_eq!(
            documents[1].find("/0").and_then(|map| map.key("b")).map(|at| at.line),
            Some(15)
        );
    }

    #[test]
    fn a_broken_or_deep_text_has_no_places() {
        assert!(documents("a: [").is_empty());
        assert!(documents(&format!("{}{}", "[".repeat(5000), "]".repeat(5000))).is_empty());
    }
}
