//! The values inside a text of unknown format, line by line, by the rules of YAML, dotenv or Java properties. This scanner is not a
//! parser: it also reads a text that is almost YAML, never fails, takes one pass, and returns the whole line if it cannot
//! separate a value from its name.

use std::borrow::Cow;

use super::part::SecretPart;
use super::quotes::{closing_quote, quoted, unescaped};

/// The parts of a text in their order: all of them, or somewhat more than `most`.
pub(super) fn parts(text: &str, most: usize) -> Vec<SecretPart<'_>> {
    let mut lines = NumberedLines::new(text, most);
    let mut parts = Vec::new();
    while let Some((number, line)) = lines.next()
        && parts.len() <= most
    {
        of_line(number, line, &mut lines, &mut parts);
    }
    parts
}

/// The lines of a text with their numbers. A line ends at LF, CR LF or a lone CR.
struct NumberedLines<'a> {
    text: &'a str,
    rest: Option<&'a str>,
    number: usize,
    /// The scan may end when there are more parts than this.
    most: usize,
}

/// Where the first line of a text ends. Byte by byte is fastest: most texts are ASCII, and each is searched often.
pub(super) fn end_of_line(text: &str) -> usize {
    let end = text.bytes().position(|byte| byte == b'\n' || byte == b'\r');
    end.unwrap_or(text.len())
}

impl<'a> NumberedLines<'a> {
    fn new(text: &'a str, most: usize) -> Self {
        Self {
            text,
            rest: Some(text),
            number: 0,
            most,
        }
    }

    fn peek(&self) -> Option<(usize, &'a str)> {
        let rest = self.rest?;
        Some((self.number + 1, &rest[..end_of_line(rest)]))
    }

    fn next(&mut self) -> Option<(usize, &'a str)> {
        let (number, line) = self.peek()?;
        let after = &self.rest?[line.len()..];
        self.rest = match after.strip_prefix("\r\n") {
            Some(after) => Some(after),
            None => after.strip_prefix(['\n', '\r']),
        };
        self.number = number;
        Some((number, line))
    }

    /// The offset of a part of the text.
    fn offset(&self, part: &str) -> usize {
        part.as_ptr() as usize - self.text.as_ptr() as usize
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

fn of_line<'a>(number: usize, line: &'a str, lines: &mut NumberedLines<'a>, parts: &mut Vec<SecretPart<'a>>) {
    let mut rest = line.trim();
    if rest.is_empty() {
        return;
    }
    let mut is_item = false;
    while let Some(item) = rest.strip_prefix("- ").or_else(|| rest.strip_prefix("-\t")) {
        rest = item.trim_start();
        is_item = true;
    }
    match name_and_value(rest) {
        Some((key, Separator::Colon, value)) => yaml_value(number, key, value, lines, parts),
        Some((key, Separator::Equals, value)) => assigned(number, key, value, lines, parts),
        None => {
            let is_structured = rest.starts_with(['"', '\'', '{', '[']);
            match is_item || is_structured {
                true => yaml_value(number, "".into(), rest, lines, parts),
                false => parts.push(SecretPart::line(number, rest)),
            }
            // The value behind a name of any characters, or at the end of a list or object of several lines.
            match rest.split_once(": ") {
                Some((_, value)) if !is_structured => yaml_value(number, "".into(), value.trim(), lines, parts),
                None if !is_item && unclosed(rest) != rest => parts.push(SecretPart::value(number, "", unclosed(rest))),
                _ => {}
            }
        }
    }
}

/// The text without the brackets that close a list or object of an earlier line, and without a comma at its end.
fn unclosed(text: &str) -> &str {
    text.trim_end_matches([',', '}', ']', ' ', '\t'])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Separator {
    Colon,
    Equals,
}

/// Splits `key: value`, `"key": value`, `NAME=value` and `export NAME=value`.
fn name_and_value(text: &str) -> Option<(Cow<'_, str>, Separator, &str)> {
    if text.starts_with(['"', '\'']) {
        let (key, after) = quoted(text)?;
        let value = after.trim_start().strip_prefix(':')?;
        return Some((key, Separator::Colon, value.trim()));
    }
    let bare = text.strip_prefix("export ").unwrap_or(text).trim_start();
    let end = bare.find(|c: char| !(c.is_alphanumeric() || "_.-/".contains(c)))?;
    let (key, after) = bare.split_at(end);
    if key.is_empty() {
        return None;
    }
    let after = after.trim_start();
    if let Some(value) = after.strip_prefix(':') {
        let value_follows = value.is_empty() || value.starts_with([' ', '\t']);
        return value_follows.then(|| (key.into(), Separator::Colon, value.trim()));
    }
    let value = after.strip_prefix('=')?.trim();
    // The `=` at the end of a line of base64 is padding; and no name has a slash.
    let is_base64 = value.bytes().all(|b| b == b'=') || key.contains('/');
    (!is_base64).then(|| (key.into(), Separator::Equals, value))
}

/// Adds the value behind `key: `, in this line or in the following lines.
fn yaml_value<'a>(
    number: usize,
    key: Cow<'a, str>,
    mut value: &'a str,
    lines: &mut NumberedLines<'a>,
    parts: &mut Vec<SecretPart<'a>>,
) {
    let whole = value;
    // An anchor, a tag.
    while value.starts_with(['&', '!']) {
        value = match value.split_once([' ', '\t']) {
            Some((_, rest)) => rest.trim_start(),
            // `!pass` or `&pass` alone may be a secret.
            None => break,
        };
    }
    if whole.len() != value.len() {
        // If the text is not YAML, the anchor or tag is the beginning of a secret.
        parts.push(SecretPart::value(number, key.clone(), whole));
    }
    match value.as_bytes().first() {
        None => {}
        // In YAML a comment, in Java properties the value.
        Some(b'#') => parts.push(SecretPart::value(number, key, value)),
        Some(b'|' | b'>') if is_block_header(&value[1..]) => block(key, lines, parts),
        Some(b'"' | b'\'') => quoted_value(number, key, value, lines, parts),
        Some(b'{' | b'[') => flow(number, key, value, lines.most, parts),
        Some(_) => {
            let text = uncommented(value);
            let bare = unclosed(text);
            if bare.len() != text.len() {
                parts.push(SecretPart::value(number, key.clone(), bare));
            }
            parts.push(SecretPart::value(number, key.clone(), text));
            if text.len() != value.len() {
                parts.push(SecretPart::value(number, key, value));
            }
        }
    }
}

/// Whether the text can follow the `|` or `>` of a block scalar: an indentation, the rule for its last line feeds, a comment.
fn is_block_header(rest: &str) -> bool {
    let comment = rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    rest.len() - comment.len() <= 2
        && (comment.is_empty() || comment.starts_with([' ', '\t']) && comment.trim_start().starts_with('#'))
}

/// Adds the value behind `NAME=`.
fn assigned<'a>(
    number: usize,
    key: Cow<'a, str>,
    value: &'a str,
    lines: &mut NumberedLines<'a>,
    parts: &mut Vec<SecretPart<'a>>,
) {
    if value.starts_with(['"', '\'']) {
        quoted_value(number, key, value, lines, parts);
    } else if !value.is_empty() {
        let text = uncommented(value);
        if text.len() != value.len() {
            parts.push(SecretPart::value(number, key.clone(), text));
        }
        parts.push(SecretPart::value(number, key, value));
    }
}

/// The text without a comment at its end.
fn uncommented(value: &str) -> &str {
    let comment = [" #", "\t#"].iter().filter_map(|begin| value.find(begin)).min();
    comment.map_or(value, |at| value[..at].trim_end())
}

/// Adds a block scalar: the following lines that are indented at least as much as the first of these lines. (The line of the key is
/// indented less, so the value of the next key does not become a part of the scalar.)
fn block<'a>(key: Cow<'a, str>, lines: &mut NumberedLines<'a>, parts: &mut Vec<SecretPart<'a>>) {
    let mut width = 0;
    let mut first = None;
    let mut text = String::new();
    while let Some((number, line)) = lines.peek() {
        let is_blank = line.trim().is_empty();
        if !is_blank && first.is_none() {
            first = Some(number);
            width = indent(line);
        }
        if !is_blank && (width == 0 || indent(line) < width) {
            break;
        }
        lines.next();
        text.push_str(line.get(width..).unwrap_or_default());
        text.push('\n');
    }
    if let Some(number) = first
        && !text.trim().is_empty()
    {
        parts.push(SecretPart::value(number, key, text));
    }
}

/// Adds a quoted value, which may end in a later line. If the quote is never closed, the lines are added one by one.
fn quoted_value<'a>(
    number: usize,
    key: Cow<'a, str>,
    value: &'a str,
    lines: &mut NumberedLines<'a>,
    parts: &mut Vec<SecretPart<'a>>,
) {
    if let Some((text, after)) = quoted(value) {
        // The text with its escapes, because a job may print the file.
        if let Some(raw) = closing_quote(value)
            .map(|end| &value[1..end])
            .filter(|raw| *raw != text)
        {
            parts.push(SecretPart::value(number, key.clone(), raw));
        }
        let after = after.trim_start();
        // `'it''s'more`, as shells write a text: the whole text too.
        if !(after.is_empty() || after.starts_with([',', '#', '}', ']', ':'])) {
            parts.push(SecretPart::value(number, key.clone(), value));
        }
        parts.push(SecretPart::value(number, key, text));
        return;
    }
    let begin = lines.offset(value);
    let all = &lines.text[begin..];
    let Some(end) = closing_quote(all) else {
        parts.push(SecretPart::value(number, key, value));
        return;
    };
    let last = begin + end;
    // An apostrophe in plain text also closes a quote, and the text after it may be the secret.
    let after = all[end + 1..].split(['\n', '\r']).next().unwrap_or_default();
    while lines.peek().is_some_and(|(_, line)| lines.offset(line) <= last) {
        lines.next();
    }
    let inside = &all[1..end];
    let text = match all.starts_with('"') {
        true => unescaped(inside).into_owned(),
        false => inside.replace("''", "'"),
    };
    // YAML joins the lines, dotenv keeps them.
    let folded: Vec<&str> = text
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    parts.push(SecretPart::value(number, key.clone(), folded.join(" ")));
    parts.push(SecretPart::value(number, key, text));
    let after = after.trim();
    if !after.is_empty() {
        parts.push(SecretPart::line(lines.number, after));
        let begin = all[..end].rfind(['\n', '\r']).map_or(0, |at| at + 1);
        let last_line = &all[begin..];
        parts.push(SecretPart::line(
            lines.number,
            last_line[..end_of_line(last_line)].trim(),
        ));
    }
}

/// Adds the values of a list or an object that are in this line.
fn flow<'a>(number: usize, mut key: Cow<'a, str>, text: &'a str, most: usize, parts: &mut Vec<SecretPart<'a>>) {
    let mut rest = text;
    // Each turn takes at least one character.
    while parts.len() <= most {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || "{}[],".contains(c));
        if rest.is_empty() {
            return;
        }
        if rest.starts_with('#') {
            // A comment, but only in YAML.
            parts.push(SecretPart::value(number, key, rest));
            return;
        }
        let (value, after) = match rest.starts_with(['"', '\'']).then(|| quoted(rest)).flatten() {
            Some(found) => found,
            None => {
                let end = rest
                    .char_indices()
                    .find(|(at, c)| "{}[],".contains(*c) || (*c == ':' && rest[at + 1..].starts_with([' ', '\t'])))
                    .map_or(rest.len(), |(at, _)| at);
                // At least one character, so that the loop ends.
                let end = end.max(rest.chars().next().map_or(0, char::len_utf8));
                (rest[..end].trim().into(), &rest[end..])
            }
        };
        rest = after.trim_start();
        match rest.strip_prefix(':') {
            Some(after) => {
                key = value;
                rest = after;
            }
            None => parts.push(SecretPart::value(number, key.clone(), value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `line key=text` for values, `line text` for lines.
    fn shown(text: &str) -> Vec<String> {
        let show = |part: SecretPart<'_>| match part.key {
            Some(key) => format!("{} {key}={}", part.line, part.text),
            None => format!("{} {}", part.line, part.text),
        };
        parts(text, 99).into_iter().map(show).collect()
    }

    #[test]
    fn scalars_of_yaml_become_parts() {
        for (text, expected) in [
            ("a: b", vec!["1 a=b"]),
            ("a: b # why", vec!["1 a=b", "1 a=b # why"]),
            ("a: b#c", vec!["1 a=b#c"]),
            ("---\na:\n  - b\n  - - c", vec!["1 ---", "3 =b", "4 =c"]),
            (
                "- name: n\n  token: 't''s'",
                vec!["1 name=n", "2 token=t''s", "2 token=t's"],
            ),
            (
                "a: \"x\\ny\\u00e4\\x41\\q\\x+1\" # c",
                vec!["1 a=x\\ny\\u00e4\\x41\\q\\x+1", "1 a=x\nyäA\\q\\x+1"],
            ),
            ("\"a b\": c\n'd': e", vec!["1 a b=c", "2 d=e"]),
            (
                "a: &anchor b\nc: !!str d\ne: !pass",
                vec!["1 a=&anchor b", "1 a=b", "2 c=!!str d", "2 c=d", "3 e=!pass"],
            ),
            (
                "a: {b: c, \"d\": 'e', f: [g, h]}",
                vec!["1 b=c", "1 d=e", "1 f=g", "1 f=h"],
            ),
            ("a: |\n  x\n\n    y\n  z\nb: c", vec!["2 a=x\n\n  y\nz\n", "6 b=c"]),
            ("- k: >-\n    x\n  b: c", vec!["2 k=x\n", "3 b=c"]),
            ("a: |+ # why\n  x", vec!["2 a=x\n"]),
            ("a: |\nb: c", vec!["2 b=c"]),
            ("a: | pipe", vec!["1 a=| pipe"]),
            ("a: \"x\n  y\"\nb: c", vec!["1 a=x y", "1 a=x\n  y", "3 b=c"]),
            ("a: \"x\nb: c", vec!["1 a=\"x", "2 b=c"]),
            ("url: https://u:p@h/x", vec!["1 url=https://u:p@h/x"]),
            ("  \"k\": \"v\",\n  \"n\": w,", vec!["1 k=v", "2 n=w", "2 n=w,"]),
            ("a:\r\n  b\rc: d", vec!["2 b", "3 c=d"]),
            ("a: {b", vec!["1 a=b"]),
            ("- |\n  x", vec!["2 =x\n"]),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_text_that_only_looks_like_yaml_loses_no_word() {
        for (text, expected) in [
            ("a: #pass-1", vec!["1 a=#pass-1"]),
            ("a: >x#pass-1", vec!["1 a=>x#pass-1"]),
            ("a: |xy\n  b", vec!["1 a=|xy", "2 b"]),
            ("a: &pass word", vec!["1 a=&pass word", "1 a=word"]),
            ("a: {#pass-1", vec!["1 a=#pass-1"]),
            (
                "a: 'tis\nb\ndon't pass-1\nc",
                vec![
                    "1 a=tis b don",
                    "1 a=tis\nb\ndon",
                    "3 t pass-1",
                    "3 don't pass-1",
                    "4 c",
                ],
            ),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn values_of_dotenv_and_properties_become_parts() {
        for (text, expected) in [
            ("A=b", vec!["1 A=b"]),
            (
                "export A='b c'\n# no\nC=\"d\\\"e\"",
                vec!["1 A=b c", "2 # no", "3 C=d\\\"e", "3 C=d\"e"],
            ),
            ("A='it'\\''s'", vec!["1 A='it'\\''s'", "1 A=it"]),
            ("A=\"x\ny\"\nB=c", vec!["1 A=x y", "1 A=x\ny", "3 B=c"]),
            ("a.b-c = d", vec!["1 a.b-c=d"]),
            // The last line of base64, or an empty value.
            ("A=", vec!["1 A="]),
            ("QUJDREVGRw==", vec!["1 QUJDREVGRw=="]),
            ("QUJD/EVGRw==", vec!["1 QUJD/EVGRw=="]),
            ("a/b=c", vec!["1 a/b=c"]),
            ("postgres://u:p@h/d?x=y", vec!["1 postgres://u:p@h/d?x=y"]),
            (
                "-----BEGIN KEY-----\nabc\n-----END KEY-----",
                vec!["1 -----BEGIN KEY-----", "2 abc", "3 -----END KEY-----"],
            ),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_scan_of_a_text_with_odd_characters_ends_and_loses_no_word(text in "([a-z]{4,6}|[ :=#|>\"'{}\\[\\],\n\r\\\\-]){0,40}") {
            let parts = parts(&text, 99);
            let mut found: Vec<String> = Vec::new();
            for part in &parts {
                found.extend(part.key.iter().map(ToString::to_string));
                found.push(part.text.to_string());
            }
            let found = found.join("\n");
            // Every word is in a part, or is a name.
            if !text.contains([':', '=', '\\', '#', '|', '>', '"', '\'']) {
                for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
                    prop_assert!(found.contains(word), "{:?} is not in {:?}", word, found);
                }
            }
        }

        #[test]
        fn the_scan_of_any_text_ends(text in any::<String>()) {
            parts(&text, 99);
        }
    }
}
