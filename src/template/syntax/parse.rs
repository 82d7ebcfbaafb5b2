//! Makes the tree of a template.

use crate::template::error::{Fault, TemplateError};
use crate::template::syntax::ast::{Branch, Range, TemplateNode};
use crate::template::syntax::call::SecretCall;
use crate::template::syntax::lex::{LexItem, LexToken, Trouble, lex};
use crate::text::is_printable;

/// The most bytes of a template.
pub(crate) const MAX_BYTES: usize = 32 * 1024;
/// How deep actions and parentheses may be in each other.
const MAX_DEPTH: usize = 32;
/// The longest delimiter.
const MAX_DELIMITER: usize = 16;

/// A template that was understood.
pub struct Template {
    pub(crate) text: Box<str>,
    pub(crate) nodes: Vec<TemplateNode>,
    pub(crate) calls: Vec<SecretCall>,
}

impl Template {
    /// Reads a template with its two delimiters, `{{` and `}}` by default.
    ///
    /// # Errors
    ///
    /// The text is too large, is no template, or asks for what is not offered.
    pub fn parse(text: &str, delimiters: (&str, &str)) -> Result<Self, TemplateError> {
        let (left, right) = delimiters;
        // Messages show the delimiters as they are written.
        let is_visible = |c: char| is_printable(c) && !c.is_whitespace();
        let fine = |d: &str| !d.is_empty() && d.len() <= MAX_DELIMITER && d.chars().all(is_visible);
        if !fine(left) || !fine(right) || left == right {
            return Err(Fault::refused(
                "the delimiters must be two different texts of 1 to 16 bytes without spaces or invisible characters",
            )
            .at(text, 0));
        }
        if text.len() > MAX_BYTES {
            return Err(Fault::bound(format!(
                "the template has {} bytes; {MAX_BYTES} are allowed",
                text.len()
            ))
            .at(text, 0));
        }
        let items = lex(text, left, right).map_err(|(at, problem)| problem.at(text, at))?;
        let mut parser = Parser {
            text,
            right,
            items,
            next: 0,
            depth: 0,
            ranges: 0,
            variables: vec!["$"],
            calls: Vec::new(),
        };
        let nodes = parser.template().map_err(|(at, problem)| problem.at(text, at))?;
        Ok(Self {
            text: text.into(),
            nodes,
            calls: parser.calls,
        })
    }

    /// The secrets that the template reads or writes, in the order of the text.
    pub fn calls(&self) -> &[SecretCall] {
        &self.calls
    }
}

pub(crate) struct Parser<'a> {
    pub(crate) text: &'a str,
    pub(crate) right: &'a str,
    pub(crate) items: Vec<LexItem>,
    pub(crate) next: usize,
    pub(crate) depth: usize,
    pub(crate) ranges: usize,
    pub(crate) variables: Vec<&'a str>,
    pub(crate) calls: Vec<SecretCall>,
}

/// What ended a list of nodes.
enum Ended {
    /// `end`
    End,
    /// `else`, with its delimiter
    Else,
    /// `else if` or `else with`: the keyword is read.
    ElseBranch,
    Text,
}

pub(crate) type Parsed<T> = Result<T, Trouble>;

pub(crate) fn fail<T>(at: usize, message: impl Into<String>) -> Parsed<T> {
    Err((at, Fault::syntax(message)))
}

impl<'a> Parser<'a> {
    pub(crate) fn peek(&self) -> LexItem {
        self.items.get(self.next).copied().unwrap_or(LexItem {
            token: LexToken::End,
            start: self.text.len(),
            end: self.text.len(),
        })
    }

    pub(crate) fn take(&mut self) -> LexItem {
        let item = self.peek();
        self.next += 1;
        item
    }

    pub(crate) fn peek_word(&mut self) -> LexItem {
        while self.peek().token == LexToken::Space {
            self.next += 1;
        }
        self.peek()
    }

    pub(crate) fn take_word(&mut self) -> LexItem {
        self.peek_word();
        self.take()
    }

    pub(crate) fn source(&self, item: LexItem) -> &'a str {
        self.text.get(item.start..item.end).unwrap_or_default()
    }

    pub(crate) fn unexpected<T>(&self, item: LexItem, expected: &str) -> Parsed<T> {
        let found = match item.token {
            LexToken::End => "the end of the template".to_owned(),
            LexToken::Right => format!("the end of the action ({})", self.right),
            _ => {
                let shown = self.source(item).chars().take(24);
                shown.map(|c| if is_printable(c) { c } else { ' ' }).collect()
            }
        };
        let problem = Fault::syntax(format!("unexpected {found}: expected {expected}"));
        Err((
            item.start,
            match found.starts_with('=') {
                true => problem.hint("Two values are compared with eq, as in {{ if eq .a \"b\" }}"),
                false => problem,
            },
        ))
    }

    fn expect_right(&mut self, after: &str) -> Parsed<()> {
        let item = self.take_word();
        if item.token == LexToken::Right {
            Ok(())
        } else {
            self.unexpected(item, &format!("{} after {after}", self.right))
        }
    }

    fn template(&mut self) -> Parsed<Vec<TemplateNode>> {
        let mut nodes = Vec::new();
        match self.list(&mut nodes, "")? {
            Ended::Text => Ok(nodes),
            _ => {
                let read = self.items.iter().take(self.next);
                let word = read
                    .rev()
                    .find(|item| item.token == LexToken::Keyword)
                    .map_or(0, |item| item.start);
                fail(word, "there is nothing open that this end or else could belong to")
            }
        }
    }

    /// Reads nodes up to `end`, `else`, or the end of the template. `context` is the action that is open.
    fn list(&mut self, nodes: &mut Vec<TemplateNode>, context: &str) -> Parsed<Ended> {
        loop {
            let item = self.take();
            match item.token {
                LexToken::Text => nodes.push(TemplateNode::Text(self.source(item).into())),
                LexToken::Left => {
                    if let Some(ended) = self.action(nodes, context)? {
                        return Ok(ended);
                    }
                }
                _ => return Ok(Ended::Text),
            }
        }
    }

    fn action(&mut self, nodes: &mut Vec<TemplateNode>, context: &str) -> Parsed<Option<Ended>> {
        let item = self.peek_word();
        let word = if item.token == LexToken::Keyword {
            self.source(item)
        } else {
            ""
        };
        let at = item.start;
        if !matches!(word, "" | "nil") {
            self.next += 1;
        }
        match word {
            "if" => nodes.push(TemplateNode::If(self.branch("if", at)?)),
            "with" => nodes.push(TemplateNode::With(self.branch("with", at)?)),
            "range" => nodes.push(TemplateNode::Range(self.range(at)?)),
            "end" => {
                self.expect_right("end")?;
                return Ok(Some(Ended::End));
            }
            "else" => return self.otherwise(context).map(Some),
            "break" | "continue" => {
                self.expect_right(word)?;
                if self.ranges == 0 {
                    return fail(at, format!("{word} is outside of range"));
                }
                nodes.push(if word == "break" {
                    TemplateNode::Break
                } else {
                    TemplateNode::Continue
                });
            }
            "define" | "template" | "block" => {
                return Err((
                    at,
                    Fault::refused(format!("{word} is not offered: templates in templates are left out"))
                        .hint("Write the text in its place"),
                ));
            }
            _ => nodes.push(TemplateNode::Action(self.pipe("an action", LexToken::Right)?)),
        }
        Ok(None)
    }

    /// Reads what follows `else`.
    fn otherwise(&mut self, context: &str) -> Parsed<Ended> {
        let item = self.peek_word();
        if item.token == LexToken::Keyword {
            let word = self.source(item);
            if word == context && word != "range" {
                self.next += 1;
                return Ok(Ended::ElseBranch);
            }
            return self.unexpected(item, &format!("{} after else", self.right));
        }
        self.expect_right("else")?;
        Ok(Ended::Else)
    }

    pub(crate) fn deeper(&mut self, at: usize) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err((
                at,
                Fault::bound(format!(
                    "more than {MAX_DEPTH} actions or parentheses are in each other"
                )),
            ));
        }
        Ok(())
    }

    fn branch(&mut self, context: &str, at: usize) -> Parsed<Branch> {
        self.deeper(at)?;
        let mark = self.variables.len();
        let mut branch = Branch {
            arms: Vec::new(),
            otherwise: Vec::new(),
        };
        loop {
            let pipe = self.pipe(context, LexToken::Right)?;
            let mut body = Vec::new();
            let ended = self.list(&mut body, context)?;
            branch.arms.push((pipe, body));
            match ended {
                Ended::ElseBranch => {}
                ended => {
                    self.tail(ended, &mut branch.otherwise, context, at)?;
                    break;
                }
            }
        }
        self.variables.truncate(mark);
        self.depth -= 1;
        Ok(branch)
    }

    fn range(&mut self, at: usize) -> Parsed<Range> {
        self.deeper(at)?;
        let mark = self.variables.len();
        let pipe = self.pipe("range", LexToken::Right)?;
        let mut range = Range {
            pipe,
            body: Vec::new(),
            otherwise: Vec::new(),
        };
        self.ranges += 1;
        let ended = self.list(&mut range.body, "range")?;
        self.ranges -= 1;
        self.tail(ended, &mut range.otherwise, "range", at)?;
        self.variables.truncate(mark);
        self.depth -= 1;
        Ok(range)
    }

    /// Reads the last part of an `if`, `with` or `range`.
    fn tail(&mut self, ended: Ended, otherwise: &mut Vec<TemplateNode>, context: &str, at: usize) -> Parsed<()> {
        let ended = if matches!(ended, Ended::Else) {
            self.list(otherwise, "")?
        } else {
            ended
        };
        match ended {
            Ended::End => Ok(()),
            Ended::Text => fail(at, format!("this {context} has no end")),
            _ => fail(at, format!("this {context} has a second else: expected end")),
        }
    }
}
