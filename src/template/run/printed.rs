//! Which values of secrets a template has printed: a job's log masks each of them, and each value that a printed text was made of.

use std::collections::{BTreeMap, BTreeSet};

use crate::template::output::{print, strings};
use crate::template::run::sink::Sink;
use crate::template::run::value::GoValue;
use crate::template::syntax::function::{Id, KnownFunction};

/// The values that were printed, and what is needed to know the others. Only a value that reaches the file is a printed value: the
/// template may use a password for its hash alone.
#[derive(Default)]
pub(crate) struct PrintedSecrets {
    printed: BTreeSet<Vec<u8>>,
    /// Texts that functions made, with the values that are in each.
    made_of: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    /// Numbers of secrets that were parsed: a number does not know that it is secret.
    numbers: BTreeSet<Vec<u8>>,
}

impl PrintedSecrets {
    /// Every printed value.
    pub(crate) fn into_values(self) -> BTreeSet<Vec<u8>> {
        self.printed
    }

    /// Notes that the value is in the file.
    pub(crate) fn print(&mut self, value: &GoValue) {
        let mut printed = Vec::new();
        value.secrets(&mut |text| printed.push(text.bytes().to_vec()));
        self.each_number(value, &mut |number| printed.push(number));
        while let Some(text) = printed.pop() {
            printed.extend(self.made_of.remove(&text).into_iter().flatten());
            self.printed.insert(text);
        }
    }

    /// How many arguments [`Self::made`] searches for in the result.
    pub(crate) fn searched(function: &KnownFunction, arguments: &[GoValue]) -> usize {
        let texts = arguments
            .iter()
            .filter(|argument| is_text(argument) && argument.is_secret());
        match function.keeps_its_arguments() {
            true => 0,
            false => texts.count(),
        }
    }

    /// Notes that a function made the text of these arguments: which of them are in it, whole or encoded.
    pub(crate) fn made(&mut self, function: &KnownFunction, result: &GoValue, arguments: &[GoValue]) {
        let GoValue::Text(result) = result else {
            return;
        };
        let mut parts = Vec::new();
        for argument in arguments {
            // `printf` writes a list or a map whole.
            let is_whole = function.keeps_its_arguments() || (function.id == Id::Printf && !is_text(argument));
            argument.secrets(&mut |text| {
                if is_whole || strings::contains(result.bytes(), text.bytes()) {
                    parts.push(text.bytes().to_vec());
                }
            });
            self.each_number(argument, &mut |number| parts.push(number));
        }
        parts.retain(|part| part != result.bytes());
        if !parts.is_empty() {
            self.made_of.entry(result.bytes().to_vec()).or_default().extend(parts);
        }
    }

    /// Notes the numbers of a secret that was parsed.
    pub(crate) fn parsed(&mut self, value: &GoValue) {
        match value {
            GoValue::List(list) => list.iter().for_each(|value| self.parsed(value)),
            GoValue::Map(map) => map.values().for_each(|value| self.parsed(value)),
            GoValue::AnyMap(map) => map.iter().for_each(|(_, value)| self.parsed(value)),
            GoValue::Int(_) | GoValue::Uint(_) | GoValue::Float(_) => drop(self.numbers.insert(plain(value))),
            _ => {}
        }
    }

    /// Whether a number of a secret is in the value.
    pub(crate) fn has_number(&self, value: &GoValue) -> bool {
        let mut found = false;
        self.each_number(value, &mut |_| found = true);
        found
    }

    /// Gives every number of a secret in the value to `each`.
    fn each_number(&self, value: &GoValue, each: &mut impl FnMut(Vec<u8>)) {
        if self.numbers.is_empty() {
            return;
        }
        match value {
            GoValue::List(list) => list.iter().for_each(|value| self.each_number(value, each)),
            GoValue::Map(map) => map.values().for_each(|value| self.each_number(value, each)),
            GoValue::AnyMap(map) => map.iter().for_each(|(_, value)| self.each_number(value, each)),
            GoValue::Int(_) | GoValue::Uint(_) | GoValue::Float(_) => {
                let number = plain(value);
                if self.numbers.contains(&number) {
                    each(number);
                }
            }
            _ => {}
        }
    }
}

fn is_text(value: &GoValue) -> bool {
    matches!(value, GoValue::Text(_) | GoValue::Number(_))
}

/// The text that printing a number makes.
fn plain(value: &GoValue) -> Vec<u8> {
    let mut text = Sink::new(64);
    print::plain(&mut text, value);
    text.bytes().to_vec()
}
