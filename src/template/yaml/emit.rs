//! The lines of YAML that yaml.v2 writes: styles of scalars, breaks, indents.

use crate::template::error::Fault;
use crate::template::run::sink::Sink;

/// After this column a plain or quoted scalar breaks at the next space.
const BEST_WIDTH: usize = 80;
/// The longest key that stands in the line of its value.
const MAX_SIMPLE_KEY: usize = 128;

/// Where a node is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    Root,
    Key,
    Value,
    Item,
}

/// How a scalar is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// A scalar, and what its text allows.
pub(crate) struct Scalar {
    text: String,
    style: Style,
    binary: bool,
    multiline: bool,
    plain_allowed: bool,
    single_allowed: bool,
    block_allowed: bool,
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

impl Scalar {
    /// Finds out which styles the text allows, as `yaml_emitter_analyze_scalar` of <https://github.com/go-yaml/yaml/blob/v2.4.0/emitterc.go>
    /// does.
    pub(crate) fn new(text: String, style: Style, binary: bool) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut scalar = Self {
            style,
            binary,
            multiline: false,
            plain_allowed: true,
            single_allowed: true,
            block_allowed: !text.is_empty(),
            text,
        };
        let (mut special, mut break_space, mut space_break, mut indicators) = (false, false, false, false);
        indicators |= scalar.text.starts_with("---") || scalar.text.starts_with("...");
        let (mut before_space, mut before_break, mut before_blank) = (false, false, true);
        for (i, c) in chars.iter().copied().enumerate() {
            let blank_after = chars.get(i + 1).is_none_or(|c| matches!(c, ' ' | '\t'));
            indicators |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                    if i == 0 =>
                {
                    true
                }
                '?' | '-' if i == 0 => blank_after,
                ':' => blank_after,
                '#' => before_blank,
                _ => false,
            };
            special |= !is_printable(c);
            break_space |= c == ' ' && before_break;
            space_break |= is_break(c) && before_space;
            scalar.multiline |= is_break(c);
            before_space = c == ' ';
            before_break = is_break(c);
            before_blank = matches!(c, ' ' | '\t' | '\0') || is_break(c);
        }
        let edge = |c: Option<&char>| c.is_some_and(|c| *c == ' ' || is_break(*c));
        let edges = edge(chars.first()) || edge(chars.last());
        scalar.plain_allowed = !(edges || break_space || space_break || special || scalar.multiline || indicators);
        scalar.single_allowed = !(break_space || space_break || special);
        scalar.block_allowed &= chars.last() != Some(&' ') && !space_break && !special;
        scalar
    }

    /// Whether the scalar can be a key in the line of its value.
    pub(crate) fn is_simple(&self) -> bool {
        let tag = if self.binary { "!!binary".len() } else { 0 };
        !self.multiline && self.text.len() + tag <= MAX_SIMPLE_KEY
    }

    fn style(&self, place: Where) -> Style {
        let mut style = self.style;
        let key = place == Where::Key;
        if key && self.multiline {
            style = Style::Double;
        }
        if style == Style::Plain && (!self.plain_allowed || (self.text.is_empty() && key)) {
            style = Style::Single;
        }
        if style == Style::Single && !self.single_allowed {
            style = Style::Double;
        }
        if style == Style::Literal && (!self.block_allowed || key) {
            style = Style::Double;
        }
        style
    }
}

/// The writer of the YAML, with the column of the next character.
pub(crate) struct Emitter {
    out: Sink,
    column: usize,
    whitespace: bool,
    indention: bool,
}

impl Emitter {
    pub(crate) fn new(out: Sink) -> Self {
        Self {
            out,
            column: 0,
            whitespace: true,
            indention: true,
        }
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, Fault> {
        self.out.finish()
    }

    pub(crate) fn full(&self) -> bool {
        self.out.full()
    }

    /// Whether the line has only indents and `-`, `?` or `:` so far.
    pub(crate) fn at_indention(&self) -> bool {
        self.indention
    }

    fn char(&mut self, c: char) {
        self.out.char(c);
        self.column += 1;
    }

    fn line_break(&mut self) {
        self.out.push(b'\n');
        self.column = 0;
    }

    /// Writes a break of the text itself.
    fn text_break(&mut self, c: char) {
        self.out.char(c);
        self.column = 0;
    }

    /// Ends the document.
    pub(crate) fn end(&mut self) {
        self.line(0);
    }

    /// Starts a line at an indent, if it is not there already.
    pub(crate) fn line(&mut self, indent: usize) {
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line_break();
        }
        while self.column < indent && !self.full() {
            self.char(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    /// Writes an indicator such as `-` or `:`.
    pub(crate) fn indicator(&mut self, text: &str, needs_space: bool, is_space: bool, is_indention: bool) {
        if needs_space && !self.whitespace {
            self.char(' ');
        }
        text.chars().for_each(|c| self.char(c));
        self.whitespace = is_space;
        self.indention = self.indention && is_indention;
    }

    /// Writes an empty list or mapping.
    pub(crate) fn empty(&mut self, text: &str, _place: Where) {
        self.indicator(text, true, false, false);
    }

    pub(crate) fn scalar(&mut self, scalar: &Scalar, place: Where, indent: Option<usize>) {
        if scalar.binary {
            self.indicator("!!binary", true, false, false);
        }
        let indent = indent.map_or(2, |i| i + 2);
        let breaks = place != Where::Key;
        match scalar.style(place) {
            Style::Plain => self.plain(&scalar.text, breaks, indent),
            Style::Single => self.single(&scalar.text, breaks, indent),
            Style::Double => self.double(&scalar.text, breaks, indent),
            Style::Literal => self.literal(&scalar.text, indent),
        }
    }

    /// Whether the line breaks at a space. `spaces`: the character before is a space too.
    fn breaks_here(&self, breaks: bool, spaces: bool) -> bool {
        breaks && !spaces && self.column > BEST_WIDTH
    }

    fn plain(&mut self, text: &str, breaks: bool, indent: usize) {
        if !self.whitespace {
            self.char(' ');
        }
        let mut spaces = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == ' ' {
                if self.breaks_here(breaks, spaces) && chars.peek() != Some(&' ') {
                    self.line(indent);
                } else {
                    self.char(c);
                }
                spaces = true;
            } else {
                self.char(c);
                self.indention = false;
                spaces = false;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn single(&mut self, text: &str, breaks: bool, indent: usize) {
        self.indicator("'", true, false, false);
        let (mut spaces, mut broken) = (false, false);
        let mut chars = text.chars().enumerate().peekable();
        while let Some((i, c)) = chars.next() {
            let next = chars.peek().map(|(_, c)| *c);
            if c == ' ' {
                if self.breaks_here(breaks, spaces) && i > 0 && next.is_some_and(|c| c != ' ') {
                    self.line(indent);
                } else {
                    self.char(c);
                }
                spaces = true;
            } else if is_break(c) {
                if !broken && c == '\n' {
                    self.line_break();
                }
                self.text_break(c);
                self.indention = true;
                broken = true;
            } else {
                if broken {
                    self.line(indent);
                }
                if c == '\'' {
                    self.char('\'');
                }
                self.char(c);
                self.indention = false;
                spaces = false;
                broken = false;
            }
        }
        self.indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn double(&mut self, text: &str, breaks: bool, indent: usize) {
        self.indicator("\"", true, false, false);
        // yaml.v2 escapes everything in a text that starts with a byte order mark.
        let marked = text.starts_with('\u{feff}');
        let mut spaces = false;
        let mut chars = text.chars().enumerate().peekable();
        while let Some((i, c)) = chars.next() {
            let next = chars.peek().map(|(_, c)| *c);
            if marked || !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.escape(c);
                spaces = false;
            } else if c == ' ' {
                if self.breaks_here(breaks, spaces) && i > 0 && next.is_some() {
                    self.line(indent);
                    if next == Some(' ') {
                        self.char('\\');
                    }
                } else {
                    self.char(c);
                }
                spaces = true;
            } else {
                self.char(c);
                spaces = false;
            }
        }
        self.indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn escape(&mut self, c: char) {
        let code = u32::from(c);
        let text = match c {
            '\0' => "\\0".to_owned(),
            '\u{7}' => "\\a".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\t' => "\\t".to_owned(),
            '\n' => "\\n".to_owned(),
            '\u{b}' => "\\v".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            '\r' => "\\r".to_owned(),
            '\u{1b}' => "\\e".to_owned(),
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\u{85}' => "\\N".to_owned(),
            '\u{a0}' => "\\_".to_owned(),
            '\u{2028}' => "\\L".to_owned(),
            '\u{2029}' => "\\P".to_owned(),
            _ if code <= 0xff => format!("\\x{code:02X}"),
            _ if code <= 0xffff => format!("\\u{code:04X}"),
            _ => format!("\\U{code:08X}"),
        };
        text.chars().for_each(|c| self.char(c));
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.indicator("|", true, false, false);
        if text.starts_with([' ', '\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']) {
            self.indicator("2", false, false, false);
        }
        let mut backwards = text.chars().rev();
        let last = backwards.next();
        if !last.is_some_and(is_break) {
            self.indicator("-", false, false, false);
        } else if backwards.next().is_none_or(is_break) {
            self.indicator("+", false, false, false);
        }
        self.line_break();
        self.indention = true;
        self.whitespace = true;
        let mut broken = true;
        for c in text.chars() {
            if is_break(c) {
                self.text_break(c);
                self.indention = true;
                broken = true;
            } else {
                if broken {
                    self.line(indent);
                }
                self.char(c);
                self.indention = false;
                broken = false;
            }
        }
    }
}
