//! Walks the tree of a template and makes the file.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::template::error::{Fault, TemplateError};
use crate::template::missing::MissingField;
use crate::template::output::print;
use crate::template::run::builtin;
use crate::template::run::field::{self, Field};
use crate::template::run::printed::PrintedSecrets;
use crate::template::run::sink::Sink;
use crate::template::run::value::{GoText, GoValue, SecretAnswer};
use crate::template::syntax::ast::{At, Branch, Command, Expr, ExprKind, Pipe, Range, TemplateNode};
use crate::template::syntax::call::SecretCall;
use crate::template::syntax::parse::Template;

/// How much a rendering may make and do.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most bytes of the file, and of each text on the way to it.
    pub output: usize,
    /// The most steps: a node, a call, 16 bytes that a function reads or makes, a quarter of a list's element.
    pub steps: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            output: 1 << 20,
            steps: 1_000_000,
        }
    }
}

/// A file that was made.
pub struct TemplateOutput {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Every secret value that is in it, and every one that a text in it was made of: to be masked in logs.
    pub secrets: BTreeSet<Vec<u8>>,
}

/// Gives the answer to a call. None: there is no such secret, and that is fine.
pub type SecretLookup<'a> = &'a dyn Fn(&SecretCall) -> Option<Rc<SecretAnswer>>;

impl Template {
    /// Makes the file.
    ///
    /// # Errors
    ///
    /// A field is missing, a value has the wrong type, or a bound is reached. No error holds a value.
    pub fn render(
        &self,
        lookup: SecretLookup<'_>,
        missing: MissingField,
        bounds: Bounds,
    ) -> Result<TemplateOutput, TemplateError> {
        let mut eval = Eval {
            calls: self.calls(),
            lookup,
            missing,
            steps: bounds.steps,
            all_steps: bounds.steps,
            out: Sink::new(bounds.output),
            variables: vec![("$", GoValue::Invalid)],
            printed: PrintedSecrets::default(),
        };
        match eval.nodes(&GoValue::Invalid, &self.nodes) {
            Ok(_) => {}
            Err((at, problem)) => return Err(problem.at(&self.text, at as usize)),
        }
        let secrets = eval.printed.into_values();
        let bytes = eval
            .out
            .finish()
            .map_err(|problem| problem.at(&self.text, self.text.len()))?;
        Ok(TemplateOutput { bytes, secrets })
    }
}

pub(crate) type Outcome<T> = Result<T, (At, Fault)>;

/// Where a list of nodes goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(crate) struct Eval<'t> {
    pub(crate) calls: &'t [SecretCall],
    pub(crate) lookup: SecretLookup<'t>,
    pub(crate) missing: MissingField,
    steps: u64,
    all_steps: u64,
    pub(crate) out: Sink,
    variables: Vec<(&'t str, GoValue)>,
    pub(crate) printed: PrintedSecrets,
}

impl<'t> Eval<'t> {
    pub(crate) fn charge(&mut self, at: At, cost: usize) -> Outcome<()> {
        match self.steps.checked_sub(cost as u64) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err((
                at,
                Fault::bound(format!("the template needs more than {} steps", self.all_steps)),
            )),
        }
    }

    fn nodes(&mut self, dot: &GoValue, nodes: &'t [TemplateNode]) -> Outcome<Flow> {
        for node in nodes {
            match node {
                TemplateNode::Text(text) => {
                    self.out.str(text);
                    self.check_output(0)?;
                }
                TemplateNode::Action(pipe) => {
                    self.charge(pipe.at, 1)?;
                    let value = self.pipe(dot, pipe)?;
                    if pipe.variables.is_empty() {
                        self.print(pipe, &value)?;
                    }
                }
                TemplateNode::If(branch) => match self.branch(dot, branch, false)? {
                    Flow::Next => {}
                    flow => return Ok(flow),
                },
                TemplateNode::With(branch) => match self.branch(dot, branch, true)? {
                    Flow::Next => {}
                    flow => return Ok(flow),
                },
                TemplateNode::Range(range) => match self.range(dot, range)? {
                    Flow::Next => {}
                    flow => return Ok(flow),
                },
                TemplateNode::Break => return Ok(Flow::Break),
                TemplateNode::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::Next)
    }

    fn check_output(&self, at: At) -> Outcome<()> {
        if self.out.full() {
            return Err((
                at,
                Fault::bound(format!("the file has more than {} bytes", self.out.limit())),
            ));
        }
        Ok(())
    }

    fn print(&mut self, pipe: &Pipe, value: &GoValue) -> Outcome<()> {
        let at = pipe.at;
        match value {
            GoValue::Invalid | GoValue::Null if self.missing == MissingField::Fail => {
                return Err((
                    at,
                    Fault::missing("there is no value to print here: it is missing or null")
                        .hint("For a default write {{ or VALUE \"default\" }}"),
                ));
            }
            GoValue::Invalid | GoValue::Null => self.out.str("<no value>"),
            GoValue::Secret(_) | GoValue::Certificate(_) => {
                return Err((
                    at,
                    Fault::value(format!("{} is not printed", value.kind_name()))
                        .hint("Print a field: {{ .Data.data.NAME }}, or {{ toJSON .Data }}"),
                ));
            }
            value => {
                self.printed.print(value);
                print::plain(&mut self.out, value);
            }
        }
        self.check_output(at)
    }

    fn branch(&mut self, dot: &GoValue, branch: &'t Branch, sets_dot: bool) -> Outcome<Flow> {
        let mark = self.variables.len();
        let mut flow = None;
        for (pipe, body) in &branch.arms {
            self.charge(pipe.at, 1)?;
            let value = self.pipe(dot, pipe)?;
            if value.truth() {
                flow = Some(self.nodes(if sets_dot { &value } else { dot }, body)?);
                break;
            }
        }
        let flow = match flow {
            Some(flow) => flow,
            None => self.nodes(dot, &branch.otherwise)?,
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &GoValue, range: &'t Range) -> Outcome<Flow> {
        let mark = self.variables.len();
        let at = range.pipe.at;
        self.charge(at, 1)?;
        let value = self.pipe(dot, &range.pipe)?;
        let inner = self.variables.len();
        let count = match &value {
            GoValue::Invalid | GoValue::Null => 0,
            GoValue::Int(i) => u64::try_from(*i).unwrap_or_default(),
            GoValue::Byte(b) => u64::from(*b),
            GoValue::Uint(u) => *u,
            GoValue::List(l) => l.len() as u64,
            GoValue::Strings(l) => l.len() as u64,
            GoValue::Map(m) => m.len() as u64,
            GoValue::AnyMap(m) => m.len() as u64,
            other => {
                return Err((
                    at,
                    Fault::value(format!(
                        "range goes over lists, maps and integers, not over {}",
                        other.kind_name()
                    )),
                ));
            }
        };
        if matches!(value, GoValue::Int(_) | GoValue::Byte(_) | GoValue::Uint(_)) && range.pipe.variables.len() > 1 {
            return Err((at, Fault::value("range over an integer has one variable")));
        }
        if count == 0 {
            let flow = self.nodes(dot, &range.otherwise)?;
            self.variables.truncate(mark);
            // Go ends only this range here, although its parser requires an outer range.
            return Ok(if flow == Flow::Break { Flow::Next } else { flow });
        }
        let (mut keys, secret_keys) = match &value {
            GoValue::Map(map) => (Some(map.iter()), map.has_secret_keys()),
            _ => (None, false),
        };
        for i in 0..count {
            self.charge(at, 1)?;
            let place = usize::try_from(i).unwrap_or(usize::MAX);
            let (key, element) = match &mut keys {
                Some(entries) => entries.next().map_or((GoValue::Invalid, GoValue::Invalid), |(k, v)| {
                    (GoValue::text(k.as_bytes(), secret_keys), v.clone())
                }),
                None => element(&value, place),
            };
            self.bind(&range.pipe, inner, key, &element)?;
            let flow = self.nodes(&element, &range.body)?;
            self.variables.truncate(inner);
            if flow == Flow::Break {
                break;
            }
        }
        self.variables.truncate(mark);
        Ok(Flow::Next)
    }

    /// Gives range's variables their values for one round.
    fn bind(&mut self, pipe: &'t Pipe, top: usize, key: GoValue, element: &GoValue) -> Outcome<()> {
        let values = match pipe.variables.len() {
            0 => return Ok(()),
            1 => vec![element.clone()],
            _ => vec![key, element.clone()],
        };
        let count = values.len();
        for (place, (name, value)) in pipe.variables.iter().zip(values).enumerate() {
            if pipe.assign {
                self.assign(pipe.at, name, value)?;
            } else if let Some(slot) = self.variables.get_mut(top - count + place) {
                slot.1 = value;
            }
        }
        Ok(())
    }

    fn assign(&mut self, at: At, name: &str, value: GoValue) -> Outcome<()> {
        match self.variables.iter_mut().rev().find(|(n, _)| *n == name) {
            Some(slot) => {
                slot.1 = value;
                Ok(())
            }
            None => Err((at, Fault::value(format!("the variable {name} has no value yet")))),
        }
    }

    fn pipe(&mut self, dot: &GoValue, pipe: &'t Pipe) -> Outcome<GoValue> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value.take())?.settled());
        }
        let value = value.unwrap_or(GoValue::Invalid);
        for name in &pipe.variables {
            if pipe.assign {
                self.assign(pipe.at, name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &GoValue, command: &'t Command, piped: Option<GoValue>) -> Outcome<GoValue> {
        let Some((first, rest)) = command.words.split_first() else {
            return Ok(GoValue::Invalid);
        };
        if let ExprKind::Function(function) = &first.kind {
            return self.call(dot, function, command.call, first.at, rest, piped);
        }
        let has_arguments = !rest.is_empty() || piped.is_some();
        match &first.kind {
            ExprKind::Nil => Err((first.at, Fault::value("nil alone is not a value"))),
            ExprKind::Field(_) | ExprKind::Chain(..) => self.word(dot, first, has_arguments),
            ExprKind::Variable(_, fields) if !fields.is_empty() => self.word(dot, first, has_arguments),
            _ if has_arguments => Err((first.at, Fault::value("only a function takes arguments"))),
            _ => self.word(dot, first, false),
        }
    }

    /// The value of a word that is no call with arguments.
    pub(crate) fn word(&mut self, dot: &GoValue, word: &'t Expr, has_arguments: bool) -> Outcome<GoValue> {
        match &word.kind {
            ExprKind::Dot => Ok(dot.clone()),
            ExprKind::Nil => Ok(GoValue::Invalid),
            ExprKind::Bool(b) => Ok(GoValue::Bool(*b)),
            ExprKind::Text(t) => Ok(GoValue::text(t, false)),
            ExprKind::Number(n) => builtin::constant(n).map_err(|problem| (word.at, problem)),
            ExprKind::Pipe(pipe) => self.pipe(dot, pipe),
            ExprKind::Function(function) => self.call(dot, function, None, word.at, &[], None),
            ExprKind::Field(fields) => self.fields(word.at, dot.clone(), fields, has_arguments),
            ExprKind::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(n, _)| **n == **name);
                let Some((_, value)) = found else {
                    return Err((word.at, Fault::value(format!("the variable {name} has no value yet"))));
                };
                let value = value.clone();
                self.fields(word.at, value, fields, has_arguments)
            }
            ExprKind::Chain(inner, fields) => {
                let value = self.word(dot, inner, false)?;
                self.fields(word.at, value, fields, has_arguments)
            }
        }
    }

    fn fields(&mut self, at: At, mut value: GoValue, fields: &[Box<str>], has_arguments: bool) -> Outcome<GoValue> {
        for (place, name) in fields.iter().enumerate() {
            self.charge(at, 1 + builtin::cost_of_finding(&value))?;
            let with_arguments = has_arguments && place + 1 == fields.len();
            let strict = self.missing != MissingField::Print;
            let field = Field {
                name,
                strict,
                with_arguments,
                null_fails: self.missing == MissingField::Fail && place + 1 < fields.len(),
            };
            value = field::get(&value, &field).map_err(|problem| (at, problem))?;
        }
        Ok(value)
    }
}

fn element(value: &GoValue, place: usize) -> (GoValue, GoValue) {
    let index = GoValue::Int(i64::try_from(place).unwrap_or(i64::MAX));
    match value {
        GoValue::List(l) => (index, l.get(place).cloned().unwrap_or(GoValue::Invalid)),
        GoValue::Strings(l) => (
            index,
            l.get(place)
                .map_or(GoValue::Invalid, |t: &GoText| GoValue::Text(t.clone())),
        ),
        GoValue::AnyMap(m) => m.get(place).cloned().unwrap_or((GoValue::Invalid, GoValue::Invalid)),
        GoValue::Byte(_) => (GoValue::Invalid, GoValue::Byte(u8::try_from(place).unwrap_or(u8::MAX))),
        GoValue::Uint(_) => (GoValue::Invalid, GoValue::Uint(place as u64)),
        _ => (GoValue::Invalid, index),
    }
}
