//! Go's `strconv.Quote`: <https://pkg.go.dev/strconv#Quote>.

use crate::template::output::unicode::{decode, is_print};
use crate::template::run::sink::Sink;

/// Writes bytes as a Go literal in `quote`s. `ascii`: whether every other character is escaped.
pub(crate) fn quote(out: &mut Sink, bytes: &[u8], quote: char, ascii: bool) {
    out.char(quote);
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let (c, width) = decode(rest);
        if width == 1 && c == '\u{fffd}' {
            out.str(&format!("\\x{first:02x}"));
        } else {
            escape(out, c, quote, ascii);
        }
        rest = rest.get(width..).unwrap_or_default();
    }
    out.char(quote);
}

fn escape(out: &mut Sink, c: char, quote: char, ascii: bool) {
    if c == quote || c == '\\' {
        out.push(b'\\');
        return out.char(c);
    }
    if if ascii {
        c.is_ascii() && is_print(c)
    } else {
        is_print(c)
    } {
        return out.char(c);
    }
    match c {
        '\u{7}' => out.str("\\a"),
        '\u{8}' => out.str("\\b"),
        '\u{c}' => out.str("\\f"),
        '\n' => out.str("\\n"),
        '\r' => out.str("\\r"),
        '\t' => out.str("\\t"),
        '\u{b}' => out.str("\\v"),
        c if u32::from(c) < 0x20 || c == '\u{7f}' => out.str(&format!("\\x{:02x}", u32::from(c))),
        c if u32::from(c) < 0x1_0000 => out.str(&format!("\\u{:04x}", u32::from(c))),
        c => out.str(&format!("\\U{:08x}", u32::from(c))),
    }
}

/// Whether a text can stand between back quotes.
pub(crate) fn can_backquote(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| {
        text.chars()
            .all(|c| c != '\u{feff}' && c != '`' && c != '\u{7f}' && (c >= ' ' || c == '\t'))
    })
}
