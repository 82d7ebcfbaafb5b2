//! `printf`: Go's `Sprintf`, <https://pkg.go.dev/fmt>.

use crate::template::error::Fault;
use crate::template::output::print::{self, Flags};
use crate::template::output::unicode::decode;
use crate::template::run::sink::Sink;
use crate::template::run::value::GoValue;

/// Go's largest width, precision and argument number.
const MAX: usize = 1_000_000;

struct Printer<'a> {
    format: &'a [u8],
    at: usize,
    values: &'a [GoValue],
    next: usize,
    /// Whether an argument was named by its number.
    reordered: bool,
    after_index: bool,
    good_index: bool,
    /// Where the last `]` of the format is: a `[` behind it has no end, and nobody searches for one.
    last_bracket: Option<usize>,
}

/// Writes values as the format says.
pub(crate) fn printf(out: &mut Sink, format: &[u8], values: &[GoValue]) -> Result<(), Fault> {
    let mut printer = Printer {
        format,
        at: 0,
        values,
        next: 0,
        reordered: false,
        after_index: false,
        good_index: true,
        last_bracket: format.iter().rposition(|b| *b == b']'),
    };
    while printer.at < format.len() && !out.full() {
        let rest = format.get(printer.at..).unwrap_or_default();
        let plain = rest.iter().position(|b| *b == b'%').unwrap_or(rest.len());
        out.write(rest.get(..plain).unwrap_or_default());
        printer.at += plain;
        if printer.at < format.len() {
            printer.at += 1;
            printer.one(out)?;
        }
    }
    if !printer.reordered && printer.next < values.len() {
        extra(out, values.get(printer.next..).unwrap_or_default());
    }
    Ok(())
}

/// What Go prints for arguments that the format does not use.
fn extra(out: &mut Sink, values: &[GoValue]) {
    out.str("%!(EXTRA ");
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.str(", ");
        }
        if value.is_nil() {
            out.str("<nil>");
        } else {
            out.str(value.type_name());
            out.push(b'=');
            print::plain(out, value);
        }
    }
    out.push(b')');
}

impl Printer<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    /// One verb, after its `%`.
    fn one(&mut self, out: &mut Sink) -> Result<(), Fault> {
        self.good_index = true;
        self.after_index = false;
        let mut flags = self.flags();
        self.index();
        self.width(out, &mut flags);
        if self.peek() == Some(b'.') && self.at + 1 < self.format.len() {
            self.at += 1;
            self.precision(out, &mut flags);
        }
        if !self.after_index {
            self.index();
        }
        if self.at >= self.format.len() {
            out.str("%!(NOVERB)");
            return Ok(());
        }
        let (verb, size) = decode(self.format.get(self.at..).unwrap_or_default());
        self.at += size;
        match verb {
            '%' => out.push(b'%'),
            _ if !self.good_index => out.str(&format!("%!{verb}(BADINDEX)")),
            _ => match self.values.get(self.next) {
                None => out.str(&format!("%!{verb}(MISSING)")),
                Some(value) => {
                    self.next += 1;
                    self.value(out, value, verb, flags)?;
                }
            },
        }
        Ok(())
    }

    fn value(&self, out: &mut Sink, value: &GoValue, verb: char, mut flags: Flags) -> Result<(), Fault> {
        if verb == 'p' || matches!(value, GoValue::Secret(_) | GoValue::Certificate(_)) {
            return Err(Fault::value(format!(
                "printf prints no {} with %{verb}",
                value.kind_name().trim_start_matches("a ")
            )));
        }
        if verb == 'v' {
            flags.go_syntax = std::mem::take(&mut flags.sharp);
            flags.plus = false;
        }
        print::verb(out, value, verb, flags);
        Ok(())
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        loop {
            match self.peek() {
                Some(b'#') => flags.sharp = true,
                Some(b'0') => flags.zero = true,
                Some(b'+') => flags.plus = true,
                Some(b'-') => flags.minus = true,
                Some(b' ') => flags.space = true,
                _ => return flags,
            }
            self.at += 1;
        }
    }

    /// Reads `[3]`.
    fn index(&mut self) {
        self.after_index = false;
        if self.peek() != Some(b'[') {
            return;
        }
        self.reordered = true;
        let rest = self.format.get(self.at..).unwrap_or_default();
        let has_end = self.last_bracket.is_some_and(|last| last > self.at);
        let close = has_end.then(|| rest.iter().position(|b| *b == b']')).flatten();
        let Some(close) = close else {
            self.good_index = false;
            self.at += 1;
            return;
        };
        let number = rest
            .get(1..close)
            .and_then(|d| std::str::from_utf8(d).ok())
            .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|d| d.parse::<usize>().ok());
        self.at += close + 1;
        match number {
            Some(n @ 1..) if n <= self.values.len() => {
                self.next = n - 1;
                self.after_index = true;
            }
            _ => {
                self.good_index = false;
                self.after_index = number.is_some();
            }
        }
    }

    /// Reads digits. A number that is too large counts as none, and Go then skips the rest of the format.
    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        let mut number = 0_usize;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            if number > MAX {
                self.at = self.format.len();
                return None;
            }
            number = number * 10 + usize::from(digit - b'0');
            self.at += 1;
        }
        (self.at > start).then_some(number)
    }

    /// Takes an argument for a `*`.
    fn star(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        let number = match value {
            GoValue::Int(i) => Some(*i),
            GoValue::Byte(b) => Some(i64::from(*b)),
            GoValue::Uint(u) => i64::try_from(*u).ok(),
            _ => None,
        };
        number.filter(|n| n.unsigned_abs() <= MAX as u64)
    }

    fn width(&mut self, out: &mut Sink, flags: &mut Flags) {
        if self.peek() == Some(b'*') {
            self.at += 1;
            match self.star() {
                None => out.str("%!(BADWIDTH)"),
                Some(width) => {
                    if width < 0 {
                        flags.minus = true;
                        flags.zero = false;
                    }
                    flags.width = usize::try_from(width.unsigned_abs()).ok();
                }
            }
            self.after_index = false;
        } else {
            flags.width = self.number();
            if self.after_index && flags.width.is_some() {
                self.good_index = false;
            }
        }
    }

    fn precision(&mut self, out: &mut Sink, flags: &mut Flags) {
        if self.after_index {
            self.good_index = false;
        }
        self.index();
        if self.peek() == Some(b'*') {
            self.at += 1;
            flags.precision = self.star().and_then(|n| usize::try_from(n).ok());
            if flags.precision.is_none() {
                out.str("%!(BADPREC)");
            }
            self.after_index = false;
        } else {
            flags.precision = Some(self.number().unwrap_or(0));
        }
    }
}
