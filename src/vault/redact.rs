//! Keeps what we sent, or were just given, out of the texts that a server writes: a proxy that quotes the request in its
//! error page must not bring a token into a log.

use crate::secret::Secret;

/// So much of a token is enough to know it by, also where a text was cut.
const KNOWN_BY: usize = 16;

/// The text with each of the secrets, or what begins like one and goes on like a token, blotted out.
pub(super) fn redact(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let Ok(secret) = std::str::from_utf8(secret.expose()) else {
            continue;
        };
        let Some(beginning) = secret
            .get(..KNOWN_BY.min(secret.len()))
            .filter(|beginning| beginning.len() >= 4)
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

const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_quotes_of_our_tokens_is_blotted_out() {
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
}
