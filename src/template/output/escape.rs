//! `html`, `js` and `urlquery`.

use crate::template::error::Fault;
use crate::template::output::print;
use crate::template::output::unicode::{decode, is_print};
use crate::template::run::sink::Sink;
use crate::template::run::value::GoValue;

/// The text of the arguments, as `print` makes it, but for nothing, which is `<no value>`.
pub(crate) fn joined(arguments: &[GoValue], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut out = Sink::new(limit);
    let arguments: Vec<GoValue> = arguments
        .iter()
        .map(|v| {
            if v.is_nil() {
                GoValue::text("<no value>", false)
            } else {
                v.clone()
            }
        })
        .collect();
    print::sprint(&mut out, &arguments);
    out.finish()
}

pub(crate) fn html(out: &mut Sink, text: &[u8]) {
    for byte in text {
        match byte {
            0 => out.str("\u{fffd}"),
            b'"' => out.str("&#34;"),
            b'\'' => out.str("&#39;"),
            b'&' => out.str("&amp;"),
            b'<' => out.str("&lt;"),
            b'>' => out.str("&gt;"),
            b => out.push(*b),
        }
    }
}

pub(crate) fn js(out: &mut Sink, text: &[u8]) {
    let mut rest = text;
    while !rest.is_empty() {
        let (c, width) = decode(rest);
        match c {
            '\\' => out.str(r"\\"),
            '\'' => out.str(r"\'"),
            '"' => out.str("\\\""),
            '<' | '>' | '&' | '=' => out.str(&format!("\\u{:04X}", u32::from(c))),
            c if c < ' ' => out.str(&format!("\\u{:04X}", u32::from(c))),
            c if c.is_ascii() => out.char(c),
            c if is_print(c) => out.write(rest.get(..width).unwrap_or_default()),
            c => out.str(&format!("\\u{:04X}", u32::from(c))),
        }
        rest = rest.get(width..).unwrap_or_default();
    }
}

pub(crate) fn url_query(out: &mut Sink, text: &[u8]) {
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            b' ' => out.push(b'+'),
            b => out.str(&format!("%{b:02X}")),
        }
    }
}
