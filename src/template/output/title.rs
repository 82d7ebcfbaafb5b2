//! `toTitle`: the first letter of each word in title case, the others as they are.

use crate::template::output::unicode::decode;
use crate::template::run::sink::Sink;

/// Writes a text in title case.
pub(crate) fn title(out: &mut Sink, text: &[u8]) {
    let mut in_word = false;
    let mut was_mid = false;
    let mut rest = text;
    while !rest.is_empty() {
        let (c, width) = decode(rest);
        let bytes = rest.get(..width).unwrap_or_default();
        rest = rest.get(width..).unwrap_or_default();
        let mid = is_mid(c);
        if was_mid && mid {
            in_word = false;
        }
        was_mid = mid;
        if is_cased(c) {
            if in_word {
                out.write(bytes);
            } else {
                title_char(out, c);
            }
            in_word = true;
        } else {
            out.write(bytes);
            if is_break(c) {
                in_word = false;
            }
        }
    }
}

fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase() || is_title(c)
}

/// The letters that are in title case themselves.
fn is_title(c: char) -> bool {
    matches!(u32::from(c), 0x1c5 | 0x1c8 | 0x1cb | 0x1f2 | 0x1f88..=0x1f8f | 0x1f98..=0x1f9f | 0x1fa8..=0x1faf | 0x1fbc | 0x1fcc | 0x1ffc)
}

/// What stands between letters without ending the word: MidLetter, MidNumLet and Single_Quote of Unicode.
fn is_mid(c: char) -> bool {
    matches!(
        c,
        '\'' | '.'
            | ':'
            | '\u{b7}'
            | '\u{387}'
            | '\u{55f}'
            | '\u{5f4}'
            | '\u{2018}'
            | '\u{2019}'
            | '\u{2024}'
            | '\u{2027}'
            | '\u{fe13}'
            | '\u{fe52}'
            | '\u{fe55}'
            | '\u{ff07}'
            | '\u{ff0e}'
            | '\u{ff1a}'
    )
}

/// What ends a word: all but letters, digits, `_`, marks, and what [`is_mid`] says.
fn is_break(c: char) -> bool {
    !(c.is_ascii_digit()
        || c == '_'
        || (c.is_alphabetic() && !is_unspaced(c))
        || is_mid(c)
        || is_joiner(c)
        || is_mark(c))
}

/// A mark that joins to the character before: Rust escapes it only where it is the first of a text.
fn is_mark(c: char) -> bool {
    let mut text = String::from("a");
    text.push(c);
    c.escape_debug().count() > 1 && text.escape_debug().count() == 2
}

/// Letters of scripts that are written without spaces.
fn is_unspaced(c: char) -> bool {
    matches!(
        u32::from(c),
        0xe00..=0xeff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x1950..=0x19df | 0x1a20..=0x1aad | 0x3006..=0x3007 | 0x3021..=0x3029 | 0x3031..=0x30ff | 0x31f0..=0x31ff | 0x32d0..=0x32fe
            | 0x3300..=0x3357 | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xa9e0..=0xa9ff | 0xaa60..=0xaadf | 0xf900..=0xfad9 | 0xff66..=0xff9f | 0x16fe4..=0x18cff | 0x1aff0..=0x1b2ff | 0x20000..=0x3ffff
    )
}

/// What is invisible or joins words.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{2c2}'..='\u{2c5}' | '\u{2d2}'..='\u{2d7}' | '\u{2de}' | '\u{2df}' | '\u{2e5}'..='\u{2eb}' | '\u{2ed}' | '\u{2ef}'..='\u{2ff}' | '\u{61c}' | '\u{180e}' | '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{203f}' | '\u{2040}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Writes one letter in title case.
fn title_char(out: &mut Sink, c: char) {
    match u32::from(c) {
        0x1c4..=0x1c6 => out.char('\u{1c5}'),
        0x1c7..=0x1c9 => out.char('\u{1c8}'),
        0x1ca..=0x1cc => out.char('\u{1cb}'),
        0x1f1..=0x1f3 => out.char('\u{1f2}'),
        // Georgian has no title case.
        0x10d0..=0x10ff => out.char(c),
        code @ (0x1f80..=0x1f87 | 0x1f90..=0x1f97 | 0x1fa0..=0x1fa7) => out.char(char::from_u32(code + 8).unwrap_or(c)),
        0x1fb3 => out.char('\u{1fbc}'),
        0x1fc3 => out.char('\u{1fcc}'),
        0x1ff3 => out.char('\u{1ffc}'),
        0x149 => out.str("\u{2bc}N"),
        _ if is_title(c) => out.char(c),
        _ => first_upper(out, c),
    }
}

/// The first character of the upper case as it is, the others in lower case: `ﬁ` is `Fi`.
fn first_upper(out: &mut Sink, c: char) {
    for (i, upper) in c.to_uppercase().enumerate() {
        match (i, upper) {
            (0, upper) => out.char(upper),
            (_, '\u{399}') => out.char('\u{345}'),
            (_, upper) => upper.to_lowercase().for_each(|lower| out.char(lower)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_x_text() {
        for (text, expected) in [
            ("o'neil john-paul", "O'neil John-Paul"),
            ("1st HELLO", "1St HELLO"),
            ("ﬁx ßa", "Fix Ssa"),
            ("a.b a..b", "A.b A..B"),
        ] {
            let mut out = Sink::new(1000);
            title(&mut out, text.as_bytes());
            assert_eq!(String::from_utf8_lossy(out.bytes()), expected);
        }
    }
}
