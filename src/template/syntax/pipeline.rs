//! Makes the tree of an action: pipelines, commands, values.

use crate::template::error::{Fault, place};
use crate::template::syntax::ast::{At, Command, Expr, ExprKind, Pipe};
use crate::template::syntax::call::{self, SecretFunction};
use crate::template::syntax::function::{Id, KnownFunction};
use crate::template::syntax::lex::{LexItem, LexToken};
use crate::template::syntax::literal;
use crate::template::syntax::number::Number;
use crate::template::syntax::parse::{Parsed, Parser, fail};
use crate::text::unquoted;

/// The most calls of `secret` and `pkiCert`.
const MAX_CALLS: usize = 64;
/// The most variables at one place.
const MAX_VARIABLES: usize = 256;

impl Parser<'_> {
    /// Reads a pipeline up to `end`, which is taken.
    pub(crate) fn pipe(&mut self, context: &str, end: LexToken) -> Parsed<Pipe> {
        let at = self.peek_word().start;
        let mut pipe = Pipe {
            at: offset(at),
            variables: Vec::new(),
            assign: false,
            commands: Vec::new(),
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let item = self.take_word();
            match item.token {
                token if token == end => break,
                LexToken::Bool
                | LexToken::Char
                | LexToken::Dot
                | LexToken::Field
                | LexToken::Identifier
                | LexToken::Number
                | LexToken::Raw
                | LexToken::Quoted
                | LexToken::Variable
                | LexToken::LeftParen => {}
                LexToken::Keyword if self.source(item) == "nil" => {}
                _ => return self.unexpected(item, "a value or a function"),
            }
            self.next -= 1;
            let command = self.command(!pipe.commands.is_empty())?;
            pipe.commands.push(command);
        }
        if pipe.commands.is_empty() {
            return fail(at, format!("{context} has no value"));
        }
        Ok(pipe)
    }

    /// Only what can take the value before it may follow a `|`.
    fn check_stage(command: &Command) -> Parsed<()> {
        let Some(first) = command.words.first() else {
            return Ok(());
        };
        match &first.kind {
            ExprKind::Bool(_) | ExprKind::Dot | ExprKind::Nil | ExprKind::Number(_) | ExprKind::Text(_) => {
                fail(first.at as usize, "only a function may follow |")
            }
            ExprKind::Function(f) if matches!(f.id, Id::Secret | Id::PkiCert) => Err((
                first.at as usize,
                Fault::refused(format!(
                    "{} may not follow |: podkey must know each path before the pod runs",
                    f.name
                ))
                .hint(format!("Write {{{{ with {} \"path\" }}}}", f.name)),
            )),
            _ => Ok(()),
        }
    }

    /// Reads `$x :=`, `$x =`, and for range `$i, $v :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        loop {
            let variable = self.peek_word();
            if variable.token != LexToken::Variable {
                return Ok(());
            }
            let back = self.next;
            self.next += 1;
            let next = self.peek_word();
            match next.token {
                LexToken::Assign | LexToken::Declare => {
                    pipe.assign = next.token == LexToken::Assign;
                    self.next += 1;
                    self.declare(pipe, variable)?;
                    return Ok(());
                }
                LexToken::Comma if context == "range" && pipe.variables.is_empty() => {
                    self.next += 1;
                    self.declare(pipe, variable)?;
                    let second = self.peek_word();
                    if second.token != LexToken::Variable {
                        return self.unexpected(second, "a second variable after the comma");
                    }
                }
                LexToken::Comma => return fail(next.start, "only range declares two variables"),
                _ => {
                    self.next = back;
                    return Ok(());
                }
            }
        }
    }

    fn declare(&mut self, pipe: &mut Pipe, variable: LexItem) -> Parsed<()> {
        if self.variables.len() == MAX_VARIABLES {
            let message = format!("more than {MAX_VARIABLES} variables are declared at one place");
            return Err((variable.start, Fault::bound(message)));
        }
        let name = self.source(variable);
        pipe.variables.push(name.into());
        self.variables.push(name);
        Ok(())
    }

    /// Reads a command. `later`: whether the command follows a `|`.
    fn command(&mut self, later: bool) -> Parsed<Command> {
        let mut command = Command {
            words: Vec::new(),
            call: None,
        };
        loop {
            self.peek_word();
            if let Some(word) = self.operand()? {
                command.words.push(word);
            }
            let item = self.take();
            match item.token {
                LexToken::Space => {}
                LexToken::Right | LexToken::RightParen => {
                    self.next -= 1;
                    break;
                }
                LexToken::Pipe => break,
                _ => return self.unexpected(item, "a space between two values"),
            }
        }
        if command.words.is_empty() {
            return fail(self.peek().start, "the command is empty");
        }
        if later {
            Self::check_stage(&command)?;
        }
        self.note_call(&mut command)?;
        Ok(command)
    }

    /// Notes a call of `secret` or `pkiCert`.
    fn note_call(&mut self, command: &mut Command) -> Parsed<()> {
        for (index, word) in command.words.iter().enumerate() {
            let function = match &word.kind {
                ExprKind::Function(f) => f,
                ExprKind::Chain(inner, _) => match &inner.kind {
                    ExprKind::Function(f) => f,
                    _ => continue,
                },
                _ => continue,
            };
            let source = match function.id {
                Id::Secret => SecretFunction::Secret,
                Id::PkiCert => SecretFunction::PkiCert,
                _ => continue,
            };
            let alone = index > 0 || matches!(word.kind, ExprKind::Chain(..));
            let arguments = if alone {
                &[]
            } else {
                command.words.get(1..).unwrap_or_default()
            };
            let at = word.at as usize;
            let mut call = call::read(source, arguments).map_err(|problem| (at, problem))?;
            if self.calls.len() == MAX_CALLS {
                return Err((
                    at,
                    Fault::bound(format!(
                        "the template has more than {MAX_CALLS} calls of secret and pkiCert"
                    )),
                ));
            }
            (call.line, call.column) = place(self.text, at);
            command.call = Some(self.calls.len());
            self.calls.push(call);
        }
        Ok(())
    }

    /// Reads a value with its fields. None: no value is here.
    fn operand(&mut self) -> Parsed<Option<Expr>> {
        let Some(mut term) = self.term()? else {
            return Ok(None);
        };
        let mut fields: Vec<Box<str>> = Vec::new();
        let first = self.peek().start;
        while self.peek().token == LexToken::Field {
            let item = self.take();
            fields.push(self.source(item).trim_start_matches('.').into());
        }
        if fields.is_empty() {
            return Ok(Some(term));
        }
        term.kind = match term.kind {
            ExprKind::Field(mut own) => {
                own.append(&mut fields);
                ExprKind::Field(own)
            }
            ExprKind::Variable(name, _) => ExprKind::Variable(name, fields),
            ExprKind::Bool(_) | ExprKind::Text(_) | ExprKind::Number(_) | ExprKind::Nil | ExprKind::Dot => {
                return fail(first, "a literal has no fields");
            }
            kind => ExprKind::Chain(Box::new(Expr { at: term.at, kind }), fields),
        };
        Ok(Some(term))
    }

    fn term(&mut self) -> Parsed<Option<Expr>> {
        let item = self.take_word();
        let at = item.start;
        let source = self.source(item);
        let located = |problem| (at, problem);
        let kind = match item.token {
            LexToken::Identifier => ExprKind::Function(KnownFunction::find(source).map_err(located)?),
            LexToken::Dot => ExprKind::Dot,
            LexToken::Keyword if source == "nil" => ExprKind::Nil,
            LexToken::Variable if self.variables.contains(&source) => ExprKind::Variable(source.into(), Vec::new()),
            LexToken::Variable => {
                return fail(at, format!("the variable {} is not declared here", unquoted(source)));
            }
            LexToken::Field => ExprKind::Field(vec![source.trim_start_matches('.').into()]),
            LexToken::Bool => ExprKind::Bool(source == "true"),
            LexToken::Char => ExprKind::Number(Number::character(literal::character(source).map_err(located)?)),
            LexToken::Number => ExprKind::Number(Number::parse(source).map_err(located)?),
            LexToken::Quoted | LexToken::Raw => ExprKind::Text(literal::string(source).map_err(located)?),
            LexToken::LeftParen => {
                self.deeper(at)?;
                let pipe = self.pipe("the parenthesis", LexToken::RightParen)?;
                self.depth -= 1;
                ExprKind::Pipe(Box::new(pipe))
            }
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Expr { at: offset(at), kind }))
    }
}

/// A template's offsets are small: see [`crate::template::syntax::parse::MAX_BYTES`].
fn offset(at: usize) -> At {
    At::try_from(at).unwrap_or(At::MAX)
}
