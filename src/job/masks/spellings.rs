//! Spellings of a text that has quotes, backslashes, control characters or characters other than ASCII, by shells and JSON writers,
//! unless the runner makes that spelling itself. A text without such characters (most texts) has no other spelling.
//!
//! The shells' forms are those of bash 5.2 and dash 0.5.12; `tests/masks.rs` runs the shells that the machine has.

use std::fmt::Write as _;

use crate::text::is_printable;

const APOSTROPHE: u8 = 1;
/// `$` and the backtick: escaped in a shell's double quotes, and not in JSON.
const EXPANDS: u8 = 1 << 1;
/// `"`: escaped in JSON, and in a shell's double quotes. The runner itself makes a form with `\"`.
const QUOTE: u8 = 1 << 2;
const BACKSLASH: u8 = 1 << 3;
const CONTROL: u8 = 1 << 4;
const NOT_ASCII: u8 = 1 << 5;
/// Characters that Go's JSON escapes because of HTML, as in `\u0026`.
const HTML: u8 = 1 << 6;
/// Other characters with a meaning for a shell.
const META: u8 = 1 << 7;

const MARKS: [u8; 256] = {
    let mut marks = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        marks[byte] = match byte as u8 {
            b'\'' => APOSTROPHE,
            b'$' | b'`' => EXPANDS,
            b'"' => QUOTE,
            b'\\' => BACKSLASH,
            0..=0x1f | 0x7f => CONTROL,
            0x80.. => NOT_ASCII,
            b'&' | b'<' | b'>' => HTML,
            b' ' | b'|' | b';' | b'(' | b')' | b'!' | b'{' | b'}' | b'*' | b'[' | b'?' | b']' | b'^' | b',' => META,
            _ => 0,
        };
        byte += 1;
    }
    marks
};

/// The kinds of characters in a text, as bits.
fn marks(text: &str) -> u8 {
    text.bytes().fold(0, |marks, byte| marks | MARKS[usize::from(byte)])
}

/// Whether a text without line breaks has any other spelling.
pub(super) fn has_any(text: &str) -> bool {
    marks(text) != 0
}

/// Passes each other spelling of a text without line breaks to `add`.
pub(super) fn each(text: &str, mut add: impl FnMut(String)) {
    let marks = marks(text);
    let has = |kinds: u8| marks & kinds != 0;
    if has(APOSTROPHE) {
        // `set -x`, `${x@Q}`; dash's `export -p`.
        add(text.replace('\'', r"'\''"));
        add(text.replace('\'', r#"'"'"'"#));
    }
    if has(EXPANDS | BACKSLASH) {
        // bash's `export -p` and `declare -p`.
        add(escaped(text, QUOTE | EXPANDS | BACKSLASH));
    }
    if has(APOSTROPHE | BACKSLASH | CONTROL) {
        // bash, if the value has a line break or another control character.
        add(ansi(text, |c| !c.is_ascii()));
    }
    if has(NOT_ASCII) {
        // bash in the locale C; and in other locales for characters that a terminal cannot show.
        add(ansi(text, |_| false));
        if text.chars().any(|c| !c.is_ascii() && !is_printable(c)) {
            add(ansi(text, |c| !c.is_ascii() && is_printable(c)));
        }
    }
    if has(APOSTROPHE | EXPANDS | QUOTE | BACKSLASH | HTML | META) && !has(CONTROL) {
        // bash's `printf %q`.
        add(escaped(text, APOSTROPHE | EXPANDS | QUOTE | BACKSLASH | HTML | META));
    }
    if has(QUOTE | BACKSLASH | CONTROL) {
        // The runner makes this form of a mask. As a separate mask, the form is also hidden when it is a string in JSON again.
        add(json(text, JsonWriter::Usual));
    }
    if has(HTML) || has(NOT_ASCII) && text.contains(['\u{2028}', '\u{2029}']) {
        // kubectl, terraform, docker.
        add(json(text, JsonWriter::Go));
    }
    if has(NOT_ASCII) {
        // Python, `jq -a`.
        add(json(text, JsonWriter::Ascii));
    }
}

/// The text with a backslash before each character of these kinds, which are all ASCII.
fn escaped(text: &str, kinds: u8) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    // An escaped character has one byte, so the text can be cut before and after it.
    while let Some(at) = rest.bytes().position(|byte| MARKS[usize::from(byte)] & kinds != 0) {
        out.push_str(&rest[..at]);
        out.push('\\');
        out.push_str(&rest[at..=at]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out
}

/// The inside of `$'…'`. A character other than ASCII for which `is_shown` is false becomes octal digits, byte by byte.
fn ansi(text: &str, is_shown: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\'' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\E"),
            ' '..='~' => out.push(c),
            c if is_shown(c) => out.push(c),
            c => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a `String` does not fail.
                    let _ = write!(out, "\\{byte:03o}");
                }
            }
        }
    }
    out
}

/// A writer of JSON, by the characters that it escapes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum JsonWriter {
    /// Only the characters that must be escaped.
    Usual,
    /// Also `<`, `>`, `&` and two line separators.
    Go,
    /// Also every character other than ASCII.
    Ascii,
}

/// The inside of a JSON string.
fn json(text: &str, writer: JsonWriter) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        let by_number = match c {
            '"' | '\\' => {
                out.push('\\');
                false
            }
            '\u{8}' | '\t' | '\u{c}' => {
                out.push('\\');
                out.push(match c {
                    '\u{8}' => 'b',
                    '\t' => 't',
                    _ => 'f',
                });
                continue;
            }
            '\0'..='\u{1f}' => true,
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                writer == JsonWriter::Go || writer == JsonWriter::Ascii && !c.is_ascii()
            }
            c => writer == JsonWriter::Ascii && !c.is_ascii(),
        };
        match by_number {
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str) -> Vec<String> {
        let mut forms = Vec::new();
        each(text, |form| forms.push(form));
        assert_eq!(forms.is_empty(), !has_any(text), "{text:?}");
        forms
    }

    #[test]
    fn a_text_without_odd_characters_has_no_other_spelling() {
        assert_eq!(spelled("s3cret-._/:@%+=#~99"), Vec::<String>::new());
    }

    #[test]
    fn each_form_is_made_for_the_texts_that_need_it() {
        for (text, expected) in [
            ("it's", vec![r"it'\''s", r#"it'"'"'s"#, r"it\'s", r"it\'s"]),
            (r#"a"$b"#, vec![r#"a\"\$b"#, r#"a\"\$b"#, r#"a\"$b"#]),
            (r"a\b", vec![r"a\\b", r"a\\b", r"a\\b", r"a\\b"]),
            ("a\tb\u{1}\u{1b}", vec![r"a\tb\001\E", r"a\tb\u0001\u001b"]),
            ("a&b<c>", vec![r"a\&b\<c\>", r"a\u0026b\u003cc\u003e"]),
            ("p\u{e4}", vec![r"p\303\244", r"p\u00e4"]),
            ("\u{1f511}", vec![r"\360\237\224\221", r"\ud83d\udd11"]),
            (
                "x\u{2028}",
                vec![r"x\342\200\250", r"x\342\200\250", r"x\u2028", r"x\u2028"],
            ),
            ("a b", vec![r"a\ b"]),
        ] {
            assert_eq!(spelled(text), expected, "{text:?}");
        }
    }
}
