//! Quoted texts in YAML, JSON and dotenv: where the quoted text ends, and its value.

use std::borrow::Cow;

use zeroize::Zeroizing;

/// The text in the quotes with which this line begins, and the rest of the line. None: the closing quote is not in this line.
pub(super) fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = closing_quote(text)?;
    let inside = &text[1..end];
    let after = &text[end + 1..];
    let unquoted = match text.starts_with('"') {
        true => unescaped(inside),
        false if inside.contains("''") => Cow::Owned(inside.replace("''", "'")),
        false => Cow::Borrowed(inside),
    };
    Some((unquoted, after))
}

/// The place of the closing quote of the quoted text with which `text` begins.
pub(super) fn closing_quote(text: &str) -> Option<usize> {
    let quote = *text.as_bytes().first()?;
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if quote == b'"' => {
                bytes.next();
            }
            b'\'' if quote == b'\'' && text.as_bytes().get(at + 1) == Some(&b'\'') => {
                bytes.next();
            }
            byte if byte == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// The text without the escapes of YAML's double quotes, which include JSON's and dotenv's. Other characters stay.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escape = chars.next();
        let digits = match escape {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        if digits > 0 {
            let hex: String = chars.clone().take(digits).collect();
            // `from_str_radix` takes a sign too.
            let is_hex = hex.len() == digits && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
            let code = u32::from_str_radix(&hex, 16).ok().filter(|_| is_hex);
            if let Some(c) = code.and_then(char::from_u32) {
                out.push(c);
                chars.by_ref().take(digits).for_each(drop);
                continue;
            }
        }
        match escape {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('0') => out.push('\0'),
            Some(c @ ('"' | '\\' | '/' | '\'' | '$' | ' ')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}

/// The JSON in a text that is the inside of a JSON string, with escaped quotes. None: the text is something else.
pub(super) fn escaped_json(text: &str) -> Option<Zeroizing<String>> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) || !text.contains(r#"\""#) {
        return None;
    }
    let json = Zeroizing::new(serde_json::from_str::<String>(&format!("\"{text}\"")).ok()?);
    serde_json::from_str::<serde::de::IgnoredAny>(&json)
        .is_ok()
        .then_some(json)
}
