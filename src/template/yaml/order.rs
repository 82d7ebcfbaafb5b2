//! The order in which yaml.v2 writes keys: numbers in texts count as numbers.

use std::cmp::Ordering;

use crate::template::run::value::GoValue;

/// Sorts keys with their values. The order has circles (`a1` < `a10` < `a1b` < `a01` < `a1`), and the sort of Rust's library may
/// panic on such an order: this is a merge sort, which then gives one of the possible sequences. yaml.v2's sequence changes from run
/// to run there.
pub(crate) fn sort<T>(mut entries: Vec<(GoValue, T)>) -> Vec<(GoValue, T)> {
    if entries.len() < 2 {
        return entries;
    }
    let second = sort(entries.split_off(entries.len() / 2));
    let mut sorted = Vec::with_capacity(entries.len() + second.len());
    let mut first = sort(entries).into_iter().peekable();
    let mut second = second.into_iter().peekable();
    while let (Some((a, _)), Some((b, _))) = (first.peek(), second.peek()) {
        let next = if compare(b, a).is_lt() {
            second.next()
        } else {
            first.next()
        };
        sorted.extend(next);
    }
    sorted.extend(first);
    sorted.extend(second);
    sorted
}

/// Compares two keys.
pub(crate) fn compare(a: &GoValue, b: &GoValue) -> Ordering {
    if let (Some(x), Some(y)) = (number(a), number(b)) {
        return x
            .partial_cmp(&y)
            .unwrap_or_else(|| x.total_cmp(&y))
            .then_with(|| rank(a).cmp(&rank(b)))
            .then_with(|| integers(a, b));
    }
    match (a, b) {
        (GoValue::Text(a), GoValue::Text(b)) => {
            texts(&String::from_utf8_lossy(a.bytes()), &String::from_utf8_lossy(b.bytes()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

/// Compares integers that are the same float.
fn integers(a: &GoValue, b: &GoValue) -> Ordering {
    match (a, b) {
        (GoValue::Int(a), GoValue::Int(b)) => a.cmp(b),
        (GoValue::Uint(a), GoValue::Uint(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

/// Go's order of kinds.
fn rank(value: &GoValue) -> u8 {
    match value {
        GoValue::Bool(_) => 1,
        GoValue::Int(_) => 2,
        GoValue::Byte(_) | GoValue::Uint(_) => 11,
        GoValue::Float(_) => 14,
        GoValue::Number(_) | GoValue::Text(_) => 24,
        _ => 0,
    }
}

fn number(value: &GoValue) -> Option<f64> {
    match value {
        GoValue::Bool(b) => Some(f64::from(u8::from(*b))),
        GoValue::Int(i) => Some(*i as f64),
        GoValue::Byte(b) => Some(f64::from(*b)),
        GoValue::Uint(u) => Some(*u as f64),
        GoValue::Float(f) => Some(*f),
        _ => None,
    }
}

fn texts(a: &str, b: &str) -> Ordering {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let Some(i) = (0..a.len().min(b.len())).find(|i| a[*i] != b[*i]) else {
        return a.len().cmp(&b.len());
    };
    match (a[i].is_alphabetic(), b[i].is_alphabetic()) {
        (true, true) => a[i].cmp(&b[i]),
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => digits(&a, &b, i),
    }
}

/// Compares from the first difference on, which may be in a number.
fn digits(a: &[char], b: &[char], i: usize) -> Ordering {
    let mut start = 0;
    if a[i] == '0' || b[i] == '0' {
        let before = a[..i]
            .iter()
            .rev()
            .take_while(|c| c.is_ascii_digit())
            .any(|c| *c != '0');
        start = i64::from(before);
    }
    let (an, ai) = run(a, i, start);
    let (bn, bi) = run(b, i, start);
    an.cmp(&bn).then(ai.cmp(&bi)).then(a[i].cmp(&b[i]))
}

fn run(text: &[char], from: usize, start: i64) -> (i64, usize) {
    let digits = text[from..].iter().take_while(|c| c.is_ascii_digit());
    let (number, count) = digits.fold((start, 0), |(n, count), c| {
        (
            n.wrapping_mul(10)
                .wrapping_add(i64::from(c.to_digit(10).unwrap_or_default())),
            count + 1,
        )
    });
    (number, from + count)
}
