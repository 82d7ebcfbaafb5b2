//! Calls functions: evaluates their arguments, checks them as Go does, and counts what they cost.

use std::rc::Rc;

use crate::template::error::Fault;
use crate::template::missing::MissingField;
use crate::template::run::builtin;
use crate::template::run::certificate;
use crate::template::run::eval::{Eval, Outcome};
use crate::template::run::printed::PrintedSecrets;
use crate::template::run::value::GoValue;
use crate::template::syntax::ast::{At, Expr, ExprKind};
use crate::template::syntax::call::SecretFunction;
use crate::template::syntax::function::{Id, KnownFunction, Param};

impl<'t> Eval<'t> {
    /// Calls a function.
    pub(crate) fn call(
        &mut self,
        dot: &GoValue,
        function: &'static KnownFunction,
        call: Option<usize>,
        at: At,
        words: &'t [Expr],
        piped: Option<GoValue>,
    ) -> Outcome<GoValue> {
        let count = words.len() + usize::from(piped.is_some());
        let located = |problem| (at, problem);
        function.check_count(count).map_err(located)?;
        self.charge(at, 1)?;
        if matches!(function.id, Id::And | Id::Or) {
            return self.and_or(dot, function.id == Id::Or, words, piped);
        }
        let mut arguments = Vec::with_capacity(count);
        for (place, word) in words.iter().enumerate() {
            arguments.push(self.argument(dot, function.param(place), word)?);
        }
        if let Some(value) = piped {
            let value = validate(value, function.param(count - 1)).map_err(located)?;
            arguments.push(value);
        }
        if matches!(function.id, Id::Secret | Id::PkiCert) {
            return self.secret(call, at);
        }
        if function.id == Id::Index {
            return self.index(at, &arguments);
        }
        if function.makes_text() {
            self.charge_arguments(function, at, &arguments)?;
        }
        self.charge(at, builtin::cost_of_comparing(function.id, &arguments))?;
        let limit = self.out.limit();
        let mut value = builtin::call(function.id, &arguments, limit).map_err(located)?;
        if matches!(function.id, Id::ParseJson | Id::ParseYaml) && arguments.iter().any(GoValue::is_secret) {
            self.printed.parsed(&value);
        }
        self.charge(at, builtin::cost(&value))?;
        if function.makes_text() {
            let searched = PrintedSecrets::searched(function, &arguments);
            self.charge(at, (builtin::cost(&value) / 4).saturating_mul(searched))?;
            if let GoValue::Text(text) = &value
                && !text.is_secret()
                && arguments.iter().any(|argument| self.printed.has_number(argument))
            {
                value = GoValue::text(text.bytes(), true);
            }
            self.printed.made(function, &value, &arguments);
        }
        Ok(value)
    }

    /// Go's `index`: an element of an element of … a value.
    fn index(&mut self, at: At, arguments: &[GoValue]) -> Outcome<GoValue> {
        let Some((first, indexes)) = arguments.split_first() else {
            return Ok(GoValue::Invalid);
        };
        if first.is_nil() {
            return Err((at, Fault::missing("index of a value that is missing or null")));
        }
        let mut item = first.clone();
        for index in indexes {
            self.charge(at, builtin::cost_of_finding(&item))?;
            item = builtin::index(&item, index).map_err(|problem| (at, problem))?;
        }
        Ok(item)
    }

    /// Counts what a function reads, and refuses to print what is missing.
    fn charge_arguments(&mut self, function: &KnownFunction, at: At, arguments: &[GoValue]) -> Outcome<()> {
        for argument in arguments {
            self.charge(at, builtin::cost(argument))?;
            if argument.is_nil() && self.missing == MissingField::Fail && function.prints() {
                return Err((
                    at,
                    Fault::missing(format!("{} would print a value that is missing or null", function.name))
                        .hint("For a default write (or VALUE \"default\")"),
                ));
            }
        }
        Ok(())
    }

    fn and_or(&mut self, dot: &GoValue, or: bool, words: &'t [Expr], piped: Option<GoValue>) -> Outcome<GoValue> {
        let mut value = GoValue::Invalid;
        for word in words {
            value = self.argument(dot, Some(Param::Value), word)?;
            if value.truth() == or {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }

    /// The value of an argument, with the type of its parameter.
    fn argument(&mut self, dot: &GoValue, param: Option<Param>, word: &'t Expr) -> Outcome<GoValue> {
        let literal = match &word.kind {
            ExprKind::Nil | ExprKind::Bool(_) | ExprKind::Text(_) => true,
            ExprKind::Number(n) => {
                if let (Some(Param::Int), Some(i)) = (param, n.int) {
                    return Ok(GoValue::Int(i));
                }
                true
            }
            _ => false,
        };
        let value = self.word(dot, word, false)?;
        if literal && matches!((&value, param), (GoValue::Invalid, Some(Param::Text | Param::Int))) {
            return Err((word.at, Fault::value("nil is not a string or an integer")));
        }
        validate(value, param).map_err(|problem| (word.at, problem))
    }

    fn secret(&self, call: Option<usize>, at: At) -> Outcome<GoValue> {
        let Some(call) = call.and_then(|i| self.calls.get(i)) else {
            return Ok(GoValue::Null);
        };
        let Some(secret) = (self.lookup)(call) else {
            return Ok(GoValue::Null);
        };
        match call.source {
            SecretFunction::Secret => Ok(GoValue::Secret(secret)),
            SecretFunction::PkiCert => {
                let certificate = certificate::read(&secret.data).map_err(|problem| (at, problem))?;
                Ok(GoValue::Certificate(Rc::new(certificate)))
            }
        }
    }
}

/// Go's check that a value fits a parameter.
fn validate(value: GoValue, param: Option<Param>) -> Result<GoValue, Fault> {
    match (param, value) {
        (Some(Param::Any), GoValue::Invalid) => Ok(GoValue::Null),
        (Some(Param::Any | Param::Value) | None, value) => Ok(value),
        (Some(Param::Text), value) => value.as_text().map(|_| ()).map(|()| value),
        (Some(Param::Int), GoValue::Int(i)) => Ok(GoValue::Int(i)),
        (Some(Param::Int), other) => Err(Fault::value(format!("expected an integer, got {}", other.kind_name()))),
        (Some(Param::Strings), GoValue::Strings(l)) => Ok(GoValue::Strings(l)),
        (Some(Param::Strings), GoValue::Invalid) => Ok(GoValue::Strings(Rc::default())),
        (Some(Param::Strings), other) => Err(Fault::value(format!(
            "expected a list that split made, got {}",
            other.kind_name()
        ))
        .hint("Write a list of the secret with {{ range }}")),
    }
}
