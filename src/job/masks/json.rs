//! The values inside JSON, by its tokens. YAML in one line that podkey wrote has the same tokens.

use std::borrow::Cow;

use super::piece::Piece;
use crate::json::tokens;

/// The strings and numbers of a JSON text, or somewhat more than `most` of them; none where it is no JSON.
pub(super) fn pieces(text: &str, most: usize) -> Option<Vec<Piece<'_>>> {
    let trimmed = text.trim_start();
    serde_json::from_str::<serde::de::IgnoredAny>(trimmed).ok()?;
    let line = 1 + line_feeds(&text[..text.len() - trimmed.len()]);
    let mut pieces = Vec::new();
    add(trimmed, line, "".into(), most, unquoted, &mut pieces);
    Some(pieces)
}

/// Strings and numbers; the names of fields are none, and `true`, `false` and `null` are no secret. The text begins in `line`, as
/// the value of `key`; `unquoted` gives what is in a quoted token.
pub(super) fn add<'a>(
    json: &'a str,
    mut line: usize,
    mut key: Cow<'a, str>,
    most: usize,
    unquoted: fn(&'a str) -> Cow<'a, str>,
    pieces: &mut Vec<Piece<'a>>,
) {
    let mut counted = 0;
    let mut tokens = tokens(json).peekable();
    while let Some(token) = tokens.next()
        && pieces.len() <= most
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
            pieces.push(Piece::value(line, key.clone(), text).spelled(inside(token)));
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
        // A lone surrogate: as it stands there.
        Err(_) => Cow::Borrowed(inside(token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `line key=text`, and in brackets how the text is spelled.
    fn shown(text: &str) -> Vec<String> {
        let show = |piece: Piece<'_>| {
            let spelled = piece.spelled.map(|spelled| format!(" [{spelled}]")).unwrap_or_default();
            format!(
                "{} {}={}{spelled}",
                piece.line,
                piece.key.unwrap_or_default(),
                piece.text
            )
        };
        pieces(text, 99).unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn json_gives_its_strings_and_numbers() {
        let text =
            "\n{\n \"a\\u0062\": \"x\\ny\", \"n\": -1.5e3,\n \"l\": [true, null, \"z\", {\"m\": \"w\"}], \"e\": {}}";
        assert_eq!(shown(text), ["3 ab=x\ny [x\\ny]", "3 n=-1.5e3", "4 l=z", "4 m=w"]);
        assert_eq!(shown(r#"["\ud800x"]"#), [r"1 =\ud800x"]);
        assert_eq!(shown(r#" "a\\b""#), [r"1 =a\b [a\\b]"]);
        assert_eq!(pieces("{", 99), None);
    }
}
