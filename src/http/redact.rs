//! Text that a server wrote, made fit for a message: without podkey's tokens, and on one line. A proxy may quote the request in
//! its error page, and a token in it must not reach a log.

use crate::secret::Secret;
use crate::text::is_printable;

/// This many characters identify a token, also where the text was cut.
const KNOWN_BY: usize = 16;
/// A shorter secret would also match ordinary words.
const SHORTEST: usize = 4;
const REDACTED: &str = "[redacted]";

/// The text with `[redacted]` in place of each secret, and of whatever begins like a secret and goes on like a token.
pub(crate) fn redact(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let Ok(secret) = std::str::from_utf8(secret.expose()) else {
            continue;
        };
        let Some(beginning) = secret
            .get(..KNOWN_BY.min(secret.len()))
            .filter(|beginning| beginning.len() >= SHORTEST)
        else {
            continue;
        };
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| rest.find(beginning)) {
            let at = from + at;
            let rest = &text[at..];
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || "-._~+/=".contains(c)))
                .unwrap_or(rest.len());
            text.replace_range(at..at + end.max(beginning.len()), REDACTED);
            from = at + REDACTED.len();
        }
    }
    text
}

/// Text from outside as one line of a log or a terminal: line breaks become spaces, control and invisible characters are
/// escaped, and the text is cut at `limit` bytes.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        match c {
            '\n' | '\t' | '\r' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            _ if !is_printable(c) => out.extend(c.escape_unicode()),
            _ => out.push(c),
        }
        if out.len() > limit {
            let end = out.floor_char_boundary(limit);
            out.truncate(end);
            out.push('…');
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_a_server_quotes_are_redacted() {
        let secrets = [
            Secret::from(b"hvs.CAESIJabcdefghijklmnop".to_vec()),
            Secret::from(b"eyJhbGciOiJFUzI1NiJ9.e30.c2ln".to_vec()),
            Secret::from(Vec::new()),
        ];
        for (text, expected) in [
            ("token hvs.CAESIJabcdefghijklmnop denied", "token [redacted] denied"),
            ("cut: hvs.CAESIJabcdefgh", "cut: [redacted]"),
            (
                "\"eyJhbGciOiJFUzI1NiJ9.e30.c2ln\", twice eyJhbGciOiJFUzI1NiJ9.e30.c2ln",
                "\"[redacted]\", twice [redacted]",
            ),
            ("permission denied", "permission denied"),
            ("", ""),
        ] {
            assert_eq!(redact(text, &secrets), expected);
        }
    }

    #[test]
    fn text_from_outside_stays_on_one_line() {
        assert_eq!(
            clean("1 error occurred:\n\t* permission denied\n\n", 512),
            "1 error occurred: * permission denied"
        );
        assert_eq!(clean("\u{1b}[31mred\u{202e}\0", 512), "\\u{1b}[31mred\\u{202e}\\u{0}");
        assert_eq!(clean(&"ä".repeat(600), 512).len(), 512 + '…'.len_utf8());
    }
}
