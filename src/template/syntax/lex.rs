//! Cuts a template into tokens, as Go's lexer does: <https://cs.opensource.google/go/go/+/refs/tags/go1.27.3:src/text/template/parse/lex.go>.

use crate::template::error::Fault;
use crate::text::unquoted;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LexToken {
    Text,
    Left,
    Right,
    Space,
    Assign,
    Declare,
    Pipe,
    LeftParen,
    RightParen,
    Comma,
    Dot,
    Field,
    Variable,
    Identifier,
    Bool,
    Number,
    Char,
    Quoted,
    Raw,
    Keyword,
    End,
}

/// A token, with its place in the text of the template.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LexItem {
    pub(crate) token: LexToken,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A problem at an offset.
pub(crate) type Trouble = (usize, Fault);

pub(crate) const KEYWORDS: [&str; 11] = [
    "block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with",
];

struct Lexer<'a> {
    text: &'a str,
    left: &'a str,
    right: &'a str,
    position: usize,
    items: Vec<LexItem>,
}

/// Cuts the text. Its last token is [`LexToken::End`].
pub(crate) fn lex(text: &str, left: &str, right: &str) -> Result<Vec<LexItem>, Trouble> {
    let mut lexer = Lexer {
        text,
        left,
        right,
        position: 0,
        items: Vec::new(),
    };
    while lexer.outside()? {
        lexer.inside()?;
    }
    lexer.emit(LexToken::End, text.len());
    Ok(lexer.items)
}

pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn emit(&mut self, token: LexToken, start: usize) {
        self.items.push(LexItem {
            token,
            start,
            end: self.position,
        });
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Trouble> {
        Err((at, Fault::syntax(message)))
    }

    /// Reads text and comments up to the next action. False: the template ends.
    fn outside(&mut self) -> Result<bool, Trouble> {
        loop {
            let start = self.position;
            let Some(found) = self.rest().find(self.left) else {
                self.position = self.text.len();
                if self.position > start {
                    self.emit(LexToken::Text, start);
                }
                return Ok(false);
            };
            let after = start + found + self.left.len();
            let trims = has_left_marker(self.text.get(after..).unwrap_or_default());
            let text = self.text.get(start..start + found).unwrap_or_default();
            let kept = if trims { text.trim_end_matches(is_space) } else { text };
            self.position = start + kept.len();
            if !kept.is_empty() {
                self.emit(LexToken::Text, start);
            }
            self.position = after + if trims { 2 } else { 0 };
            if !self.rest().starts_with("/*") {
                self.emit(LexToken::Left, start + found);
                return Ok(true);
            }
            self.comment()?;
        }
    }

    /// Reads a comment to the end of its action.
    fn comment(&mut self) -> Result<(), Trouble> {
        let start = self.position;
        let Some(length) = self.rest().get(2..).and_then(|r| r.find("*/")) else {
            return self.fail(start, "the comment is not closed: expected */");
        };
        self.position += length + 4;
        match self.right_delimiter() {
            Some(trims) => self.close(trims),
            None => {
                return self.fail(
                    self.position,
                    format!("a comment ends with */{} (or */ -{})", self.right, self.right),
                );
            }
        }
        Ok(())
    }

    /// Whether the action's end trims the text behind it. None: the action does not end here.
    fn right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        let mut chars = rest.chars();
        if chars.next().is_some_and(is_space) && chars.next() == Some('-') && chars.as_str().starts_with(self.right) {
            return Some(true);
        }
        rest.starts_with(self.right).then_some(false)
    }

    fn close(&mut self, trims: bool) {
        self.position += self.right.len() + if trims { 2 } else { 0 };
        if trims {
            self.position += self.rest().len() - self.rest().trim_start_matches(is_space).len();
        }
    }

    /// Reads an action to its end.
    fn inside(&mut self) -> Result<(), Trouble> {
        let opened = self.position.saturating_sub(self.left.len());
        let mut parens = 0_usize;
        loop {
            let start = self.position;
            if let Some(trims) = self.right_delimiter() {
                if parens > 0 {
                    return self.fail(start, "a parenthesis is not closed: expected )");
                }
                self.close(trims);
                self.emit(LexToken::Right, start);
                return Ok(());
            }
            let Some(c) = self.peek() else {
                return self.fail(opened, format!("the action is not closed: expected {}", self.right));
            };
            match c {
                '(' => parens += 1,
                ')' if parens == 0 => return self.fail(start, "unexpected )"),
                ')' => parens -= 1,
                _ => {}
            }
            let token = self.token(c)?;
            self.emit(token, start);
        }
    }

    /// Reads one token of an action.
    fn token(&mut self, c: char) -> Result<LexToken, Trouble> {
        let start = self.position;
        if is_space(c) {
            return Ok(self.spaces());
        }
        self.position += c.len_utf8();
        match c {
            '=' => Ok(LexToken::Assign),
            ':' if self.peek() == Some('=') => {
                self.position += 1;
                Ok(LexToken::Declare)
            }
            ':' => self.fail(start, "expected := after the variable"),
            '|' => Ok(LexToken::Pipe),
            '(' => Ok(LexToken::LeftParen),
            ')' => Ok(LexToken::RightParen),
            ',' => Ok(LexToken::Comma),
            '"' => self.quoted('"', LexToken::Quoted, "the string is not closed: expected \""),
            '\'' => self.quoted('\'', LexToken::Char, "the character is not closed: expected '"),
            '`' => self.raw(),
            '$' => self.name(LexToken::Variable, LexToken::Variable),
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => self.name(LexToken::Field, LexToken::Dot),
            '.' | '+' | '-' | '0'..='9' => {
                self.position = start;
                self.number()
            }
            c if is_word(c) => {
                self.position = start;
                self.identifier()
            }
            c => Err((
                start,
                Fault::syntax(format!("unexpected {c:?} in an action")).hint(way_out(c)),
            )),
        }
    }

    /// Reads spaces, but leaves the one that belongs to a trimming end.
    fn spaces(&mut self) -> LexToken {
        while self.peek().is_some_and(is_space) {
            if self.right_delimiter() == Some(true) {
                break;
            }
            self.position += 1;
        }
        LexToken::Space
    }

    fn quoted(&mut self, quote: char, token: LexToken, message: &str) -> Result<LexToken, Trouble> {
        let start = self.position - 1;
        loop {
            let c = self.peek();
            self.position += c.map_or(0, char::len_utf8);
            match c {
                Some('\\') => match self.peek() {
                    None | Some('\n') => return self.fail(start, message),
                    Some(c) => self.position += c.len_utf8(),
                },
                None | Some('\n') => return self.fail(start, message),
                Some(c) if c == quote => return Ok(token),
                Some(_) => {}
            }
        }
    }

    fn raw(&mut self) -> Result<LexToken, Trouble> {
        let start = self.position - 1;
        match self.rest().find('`') {
            Some(length) => {
                self.position += length + 1;
                Ok(LexToken::Raw)
            }
            None => self.fail(start, "the string is not closed: expected `"),
        }
    }

    /// Reads the rest of a field or a variable; `alone` is the token when no name follows.
    fn name(&mut self, token: LexToken, alone: LexToken) -> Result<LexToken, Trouble> {
        if self.at_terminator() {
            return Ok(alone);
        }
        self.word()?;
        Ok(token)
    }

    fn word(&mut self) -> Result<(), Trouble> {
        while let Some(c) = self.peek().filter(|c| is_word(*c)) {
            self.position += c.len_utf8();
        }
        if self.at_terminator() {
            return Ok(());
        }
        let found = self.peek().map(|c| format!("{c:?}")).unwrap_or_default();
        let hint = self.peek().map_or("", way_out);
        Err((
            self.position,
            Fault::syntax(format!("unexpected {found} in or after a name")).hint(hint),
        ))
    }

    fn identifier(&mut self) -> Result<LexToken, Trouble> {
        let start = self.position;
        self.word()?;
        Ok(match self.text.get(start..self.position).unwrap_or_default() {
            "true" | "false" => LexToken::Bool,
            word if KEYWORDS.contains(&word) => LexToken::Keyword,
            _ => LexToken::Identifier,
        })
    }

    /// Whether a name may end here.
    fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(c) => {
                is_space(c) || matches!(c, '.' | ',' | '|' | ':' | ')' | '(') || self.rest().starts_with(self.right)
            }
        }
    }

    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|c| set.contains(c));
        self.position += usize::from(found);
        found
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn number(&mut self) -> Result<LexToken, Trouble> {
        let start = self.position;
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits.len() {
            11 => self.accept("eE"),
            23 => self.accept("pP"),
            _ => false,
        };
        if exponent {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        if self.peek() == Some('i') {
            return Err((start, Fault::refused("complex numbers are not offered")));
        }
        if self.peek().is_some_and(|c| is_word(c) || c == '+' || c == '-') {
            let bad = self.text.get(start..self.position).unwrap_or_default();
            return self.fail(
                start,
                format!("{} is followed by a character that no number has", unquoted(bad)),
            );
        }
        Ok(LexToken::Number)
    }
}

fn has_left_marker(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

/// What an author probably means who writes this character where it cannot stand.
fn way_out(c: char) -> &'static str {
    match c {
        '-' => r#"A name with - is written (index .Data.data "my-name")"#,
        '/' => r#"A path is written in double quotes, as in "kv/data/app""#,
        '[' => r#"An element is written (index .Data.data "name")"#,
        '}' => "An action ends with two braces, or with the second text of `delims`",
        '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => "Write the plain quote \"",
        _ => "",
    }
}
