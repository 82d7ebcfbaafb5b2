//! Go's ideas of characters, where Rust's are others.

use crate::template::run::sink::Sink;

/// The first character of some bytes and its width. A byte that is no UTF-8 is U+FFFD, of width 1.
pub(crate) fn decode(bytes: &[u8]) -> (char, usize) {
    let width = match bytes.first() {
        None => return ('\u{fffd}', 1),
        Some(b @ 0..0x80) => return (char::from(*b), 1),
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        Some(_) => return ('\u{fffd}', 1),
    };
    let found = bytes
        .get(..width)
        .and_then(|b| std::str::from_utf8(b).ok())
        .and_then(|s| s.chars().next());
    found.map_or(('\u{fffd}', 1), |c| (c, width))
}

/// Goes over the characters of some bytes.
pub(crate) fn chars(bytes: &[u8]) -> impl Iterator<Item = (char, usize)> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (c, width) = decode(rest);
        rest = rest.get(width..).unwrap_or_default();
        Some((c, width))
    })
}

/// Maps each character, as Go's `strings.Map` does: bytes that are no UTF-8 become U+FFFD.
pub(crate) fn map(out: &mut Sink, bytes: &[u8], to: fn(char) -> char) {
    for (c, _) in chars(bytes) {
        out.char(to(c));
    }
}

/// One character in upper case. Characters that become several, as `ß`, stay.
pub(crate) fn to_upper(c: char) -> char {
    match u32::from(c) {
        code @ (0x1f80..=0x1f87 | 0x1f90..=0x1f97 | 0x1fa0..=0x1fa7) => char::from_u32(code + 8).unwrap_or(c),
        0x1fb3 => '\u{1fbc}',
        0x1fc3 => '\u{1fcc}',
        0x1ff3 => '\u{1ffc}',
        _ => single(c, c.to_uppercase()),
    }
}

/// One character in lower case. Rust makes two characters of `İ`, and Go makes `i`.
pub(crate) fn to_lower(c: char) -> char {
    if c == '\u{130}' {
        'i'
    } else {
        single(c, c.to_lowercase())
    }
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Go's `unicode.IsSpace`.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
        || (c > '\u{ff}' && c.is_whitespace())
}

/// Go's `strings.TrimSpace`.
pub(crate) fn trim_space(bytes: &[u8]) -> &[u8] {
    let mut start = 0;
    for (c, width) in chars(bytes) {
        if !is_space(c) {
            break;
        }
        start += width;
    }
    let mut end = bytes.len();
    while end > start {
        let tail = (1..=3.min(end - start)).find(|w| {
            let (c, width) = decode(bytes.get(end - w..end).unwrap_or_default());
            width == *w && is_space(c)
        });
        match tail {
            Some(width) => end -= width,
            None => break,
        }
    }
    bytes.get(start..end).unwrap_or_default()
}

/// Go's `unicode.IsPrint`, as far as Rust's escapes know: letters, marks, numbers, punctuation, symbols, and the space.
pub(crate) fn is_print(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\u{0}'..='\u{a0}' | '\u{ad}' => false,
        // Rust escapes marks that join to the character before; Go prints them.
        c => c.escape_debug().count() == 1 || is_grapheme_extend(c),
    }
}

/// Whether Rust would escape the character only because it joins to the character before.
fn is_grapheme_extend(c: char) -> bool {
    // In a string, only the first such mark is escaped.
    let mut text = String::from("a");
    text.push(c);
    text.escape_debug().count() == 2
}
