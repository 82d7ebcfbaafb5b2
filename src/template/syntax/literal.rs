//! Go's string and character literals: <https://go.dev/ref/spec#String_literals>.

use crate::template::error::Fault;

/// The bytes of a string literal, quotes included in `text`.
pub(crate) fn string(text: &str) -> Result<Box<[u8]>, Fault> {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    if text.starts_with('`') {
        // Go drops carriage returns from raw strings.
        return Ok(inner.replace('\r', "").into_bytes().into());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        let (piece, left) = one(rest, '"')?;
        match piece {
            Piece::Byte(b) => out.push(b),
            Piece::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = left;
    }
    Ok(out.into())
}

/// The code of a character literal, quotes included in `text`.
pub(crate) fn character(text: &str) -> Result<i64, Fault> {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    let wrong =
        || Fault::syntax("the character between ' and ' is not valid").hint("A text is written in double quotes");
    if inner.is_empty() {
        return Err(wrong());
    }
    let (piece, rest) = one(inner, '\'')?;
    if !rest.is_empty() {
        return Err(wrong());
    }
    Ok(match piece {
        Piece::Byte(b) => i64::from(b),
        Piece::Char(c) => i64::from(u32::from(c)),
    })
}

enum Piece {
    Byte(u8),
    Char(char),
}

/// Reads one character or escape, and gives what is left.
fn one(text: &str, quote: char) -> Result<(Piece, &str), Fault> {
    let mut chars = text.chars();
    let first = chars.next().unwrap_or_default();
    if first != '\\' {
        return Ok((Piece::Char(first), chars.as_str()));
    }
    let c = chars.next().unwrap_or_default();
    let rest = chars.as_str();
    let simple = match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        c if c == quote => c,
        'x' => return hex(rest, 2),
        'u' => return hex(rest, 4),
        'U' => return hex(rest, 8),
        '0'..='7' => return octal(text),
        c => {
            let shown = c.escape_debug();
            return Err(Fault::syntax(format!(r"\{shown} is not an escape of Go")));
        }
    };
    Ok((Piece::Char(simple), rest))
}

fn hex(text: &str, digits: usize) -> Result<(Piece, &str), Fault> {
    let wrong = || Fault::syntax(format!("expected {digits} hexadecimal digits in the escape"));
    let number = text
        .get(..digits)
        .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(wrong)?;
    let code = u32::from_str_radix(number, 16).map_err(|_| wrong())?;
    let rest = text.get(digits..).unwrap_or_default();
    if digits == 2 {
        return Ok((Piece::Byte(u8::try_from(code).unwrap_or_default()), rest));
    }
    let c = char::from_u32(code).ok_or_else(|| Fault::syntax("the escape is not a Unicode character"))?;
    Ok((Piece::Char(c), rest))
}

fn octal(text: &str) -> Result<(Piece, &str), Fault> {
    let wrong = || Fault::syntax("expected 3 octal digits, at most 377, in the escape");
    let number = text
        .get(1..4)
        .filter(|d| d.bytes().all(|b| (b'0'..=b'7').contains(&b)))
        .ok_or_else(wrong)?;
    let code = u8::from_str_radix(number, 8).map_err(|_| wrong())?;
    Ok((Piece::Byte(code), text.get(4..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_go_s() {
        for (text, bytes) in [
            (r#""a\n\t\"\\""#, b"a\n\t\"\\".as_slice()),
            (r#""\xff\377\u00e9\U0001F600""#, b"\xff\xff\xc3\xa9\xf0\x9f\x98\x80"),
            ("`a\\n\r`", b"a\\n"),
        ] {
            assert_eq!(&*string(text).unwrap(), bytes, "{text}");
        }
        for text in [r#""\'""#, r#""\x4""#, r#""\ud800""#, r#""\400""#, r#""\q""#] {
            assert!(string(text).is_err(), "{text}");
        }
        assert_eq!(character("'a'").unwrap(), 97);
        assert_eq!(character(r"'\''").unwrap(), 39);
        assert!(character("''").is_err());
        assert!(character("'ab'").is_err());
    }
}
