//! The values inside JSON, by its tokens. A line of YAML that podkey wrote has the same tokens.

use std::borrow::Cow;

use super::part::SecretPart;
use crate::json::tokens;

/// The strings and numbers of a JSON text, or somewhat more than `most` of them. None: the text is not JSON.
pub(super) fn parts(text: &str, most: usize) -> Option<Vec<SecretPart<'_>>> {
    let trimmed = text.trim_start();
    serde_json::from_str::<serde::de::IgnoredAny>(trimmed).ok()?;
    let line = 1 + line_feeds(&text[..text.len() - trimmed.len()]);
    let mut parts = Vec::new();
    add(trimmed, line, "".into(), most, unquoted, &mut parts);
    Some(parts)
}

/// Adds the strings and numbers. The names of fields are no values, and `true`, `false` and `null` are no secrets. The text begins in
/// `line`, as the value of `key`; `unquoted` returns the text of a quoted token.
pub(super) fn add<'a>(
    json: &'a str,
    mut line: usize,
    mut key: Cow<'a, str>,
    most: usize,
    unquoted: fn(&'a str) -> Cow<'a, str>,
    parts: &mut Vec<SecretPart<'a>>,
) {
    let mut counted = 0;
    let mut tokens = tokens(json).peekable();
    while let Some(token) = tokens.next()
        && parts.len() <= most
    {
        let at = token.as_ptr() as usize - json.as_ptr() as usize;
        line += line_feeds(&json[counted..at]);
        counted = at;
        let text = match token.as_bytes() {
            [b'"', ..] => unquoted(token),
            [b'0'..=b'9' | b'-', ..] => Cow::Borrowed(token),
            _ => continue,
        };
        if tokens.next_if_eq(&":").is_some() {
            key = text;
        } else {
            parts.push(SecretPart::value(line, key.clone(), text).spelled(inside(token)));
        }
    }
}

fn line_feeds(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

/// A token without its quotes, if it has them.
pub(super) fn inside(token: &str) -> &str {
    let inside = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.unwrap_or(token)
}

fn unquoted(token: &str) -> Cow<'_, str> {
    match serde_json::from_str::<String>(token) {
        Ok(text) => Cow::Owned(text),
        // A lone surrogate stays as written.
        Err(_) => Cow::Borrowed(inside(token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `line key=text`, and in brackets the text as written.
    fn shown(text: &str) -> Vec<String> {
        let show = |part: SecretPart<'_>| {
            let spelled = part.spelled.map(|spelled| format!(" [{spelled}]")).unwrap_or_default();
            format!("{} {}={}{spelled}", part.line, part.key.unwrap_or_default(), part.text)
        };
        parts(text, 99).unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn strings_and_numbers_of_json_become_parts() {
        let text =
            "\n{\n \"a\\u0062\": \"x\\ny\", \"n\": -1.5e3,\n \"l\": [true, null, \"z\", {\"m\": \"w\"}], \"e\": {}}";
        assert_eq!(shown(text), ["3 ab=x\ny [x\\ny]", "3 n=-1.5e3", "4 l=z", "4 m=w"]);
        assert_eq!(shown(r#"["\ud800x"]"#), [r"1 =\ud800x"]);
        assert_eq!(shown(r#" "a\\b""#), [r"1 =a\b [a\\b]"]);
        assert_eq!(parts("{", 99), None);
    }
}
