//! The masks of a job: the texts that the runner hides in the job's log.
//!
#![doc = include_str!("rules.md")]

mod credentials;
mod encodings;
mod formats;
mod json;
mod part;
mod quotes;
mod rule;
mod scan;
mod spellings;
mod unmasked;

use std::collections::BTreeSet;
use std::iter;

use zeroize::Zeroizing;

use crate::job::commands;
use crate::plan::{Format, Mask};
use credentials::InnerSecret;
use part::SecretPart;
pub use rule::COMMON;
use rule::{Masking, TextOrigin, masking_of, names_of_object};
pub(crate) use unmasked::Unmasked;

/// The most lines and values that are examined in one secret.
pub(crate) const MAX_PARTS: usize = 8192;
/// A longer text is not hidden in base64, hex and other spellings; a longer line is not searched for passwords.
pub(crate) const MAX_ENCODED_BYTES: usize = 16 * 1024;
/// The most lines of wrapped base64 in one job. The runner searches each line of its log for each of them.
pub(crate) const MAX_WRAPPED_LINES: usize = 4096;
/// How deep values inside values are examined (base64, JSON in a string). The lines of a deeper value are hidden, but not the values
/// inside.
pub(crate) const MAX_DEPTH: usize = 8;
/// The most bytes of shells' and JSON writers' spellings in one job.
pub(crate) const MAX_SPELLED_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes that are examined in one secret, as a multiple of its size. A text counts again for each text around it.
const MAX_EXAMINED: usize = 16;
/// The rules, in Markdown.
pub const RULES: &str = include_str!("rules.md");
/// The limits, for people: what each is of, and its value.
pub const LIMITS: [(&str, usize); 5] = [
    ("lines and values that are examined in one secret", MAX_PARTS),
    (
        "how deep values inside values are examined: the lines of a deeper value are hidden, but not the values inside",
        MAX_DEPTH,
    ),
    (
        "bytes of a text that is hidden in base64, hex and other spellings, and of a line that is searched for passwords",
        MAX_ENCODED_BYTES,
    ),
    ("lines of wrapped base64 in one job", MAX_WRAPPED_LINES),
    (
        "bytes of shells' and JSON writers' spellings in one job",
        MAX_SPELLED_BYTES,
    ),
];
/// The shortest text that is examined as base64.
const MIN_BASE64_CHARS: usize = 8;

/// The masks of one job: add each secret, then print [`Masks::commands`] before anything else.
///
/// Masking spends most of its time on single bytes, and the masks have ten times as many bytes as the secrets. So nothing here wipes
/// memory that the agent's allocator wipes when it is freed.
pub struct Masks {
    mode: Mask,
    /// Parts of the secrets.
    texts: BTreeSet<String>,
    /// Encodings of the secrets, without any character that a command escapes.
    encoded: BTreeSet<String>,
    wrapped_lines: usize,
    spelled_bytes: usize,
    unmasked: Vec<Unmasked>,
}

/// The examination of one secret: its limits, and what stays unmasked.
struct SecretSearch {
    unmasked: Unmasked,
    /// How many parts may still be examined.
    parts: usize,
    /// How many bytes of texts may still be examined.
    bytes: usize,
}

/// The place of a text: the line of the secret, and the number of texts around it.
#[derive(Clone, Copy)]
struct Position {
    line: usize,
    depth: usize,
}

/// The approximate number of bytes of commands that are printed at a time.
const PRINTED: usize = 64 * 1024;

impl Masks {
    /// An empty set of masks.
    pub fn new(mode: Mask) -> Self {
        Self {
            mode,
            texts: BTreeSet::new(),
            encoded: BTreeSet::new(),
            wrapped_lines: 0,
            spelled_bytes: 0,
            unmasked: Vec::new(),
        }
    }

    /// Adds a secret as podkey wrote it in this format. `name` is the secret's name in warnings.
    pub fn add(&mut self, name: &str, format: Format, value: &[u8]) {
        match self.mode {
            Mask::Off => {}
            Mask::Lines => self.add_lines(format, value),
            Mask::Smart => {
                let mut search = SecretSearch {
                    unmasked: Unmasked::new(name),
                    parts: MAX_PARTS,
                    bytes: MAX_EXAMINED * value.len().max(1024),
                };
                self.add_value(format, value, &mut search);
                if !search.unmasked.is_nothing() {
                    self.unmasked.push(search.unmasked);
                }
            }
        }
    }

    /// All masks.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().chain(&self.encoded).map(String::as_str)
    }

    /// Passes the workflow commands to `print`, whole lines at a time. The hook writes them to its standard output before anything else.
    pub fn commands<E>(&self, mut print: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut lines = Vec::with_capacity(2 * PRINTED);
        let encoded = self.encoded.iter().map(|text| (text, false));
        for (text, escaped) in self.texts.iter().map(|text| (text, true)).chain(encoded) {
            match escaped {
                true => commands::add_mask(text, &mut lines),
                false => commands::add_plain_mask(text, &mut lines),
            }
            if lines.len() >= PRINTED {
                print(&lines)?;
                lines.clear();
            }
        }
        match lines.is_empty() {
            true => Ok(()),
            false => print(&lines),
        }
    }

    /// Warnings about texts that stay unmasked: secrets with equal reasons share a line.
    pub(crate) fn warnings(&self) -> Vec<String> {
        unmasked::warnings(&self.unmasked)
    }

    /// Adds every line, whatever its length, as vault-action does. (The runner refuses a blank line.) For a file, also each line of
    /// each field.
    fn add_lines(&mut self, format: Format, value: &[u8]) {
        let text = Zeroizing::new(String::from_utf8_lossy(value).into_owned());
        let fields = formats::parts(format, text.trim_end_matches('\n'), usize::MAX).unwrap_or_default();
        for text in iter::once(text.as_str()).chain(fields.iter().map(|field| &*field.text)) {
            for line in text
                .replace('\r', "")
                .split('\n')
                .filter(|line| !line.trim().is_empty())
            {
                self.texts.insert(line.to_owned());
            }
        }
    }

    fn add_value(&mut self, format: Format, value: &[u8], search: &mut SecretSearch) {
        let top = Position { line: 1, depth: 0 };
        if let Ok(text) = std::str::from_utf8(value) {
            self.add_text(text, TextOrigin::Whole, format, top, search);
            return;
        }
        self.add_encodings(value, false, search);
        // The text below has U+FFFD in place of some bytes, so a variable's value is encoded here.
        if format == Format::Dotenv
            && let Some(value) = formats::value_of_dotenv(value)
        {
            self.add_encodings(&value, false, search);
        }
        // Text in another encoding, such as Latin-1, has lines and values too. The runner also reads U+FFFD for bytes that are not
        // UTF-8.
        let text = Zeroizing::new(String::from_utf8_lossy(value).into_owned());
        let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        let mostly_ascii = value.iter().filter(|b| !b.is_ascii()).count() <= value.len() / 4;
        if mostly_ascii && !text.contains(is_control) {
            self.add_text(&text, TextOrigin::Whole, format, top, search);
        } else {
            search.unmasked.binary = true;
        }
    }

    /// Adds a text, the values and lines inside the text, and the decoded text if the text is base64.
    fn add_text(
        &mut self,
        text: &str,
        origin: TextOrigin,
        format: Format,
        position: Position,
        search: &mut SecretSearch,
    ) {
        // A byte order mark belongs to the file, not to a value.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let body = text.trim_end_matches(['\n', '\r']);
        // Blank lines may stand before a value of one line.
        let line = body.trim_start_matches(['\n', '\r']);
        let is_line = scan::end_of_line(line) == line.len();
        let one_line = is_line && line.len() == body.len();
        let masked = is_line && self.add_part(line, origin, position.line, search);
        // Encodings include the white space around the value; masks of the text do not.
        let whole = masked && body.trim().len() == body.len();
        if origin != TextOrigin::Line && masking_of(body.trim(), origin) == Masking::Hide {
            self.add_encodings(body.as_bytes(), whole, search);
        }
        if !search.may_examine(body, position) {
            if !one_line {
                for part in body.split(['\n', '\r']) {
                    self.add_part(part, TextOrigin::Line, position.line, search);
                }
            }
            return;
        }
        let guessed = self.add_parts(body, format, position, search);
        if one_line && guessed || credentials::is_netrc(body) {
            self.add_inside(body, origin, position, search);
        }
        if let Some(unescaped) = quotes::escaped_json(body) {
            self.add_text(&unescaped, TextOrigin::Value, Format::Json, position.deeper(), search);
        }
        if origin != TextOrigin::Line
            && let Some(decoded) = encodings::text_of_base64(body, MIN_BASE64_CHARS)
        {
            let origin = if origin == TextOrigin::Login {
                origin
            } else {
                TextOrigin::Value
            };
            self.add_text(&decoded, origin, Format::Raw, position.deeper(), search);
        }
    }

    /// Adds the values and the lines inside a text, by its format or by a guess. Returns whether the format was guessed.
    fn add_parts(&mut self, body: &str, format: Format, position: Position, search: &mut SecretSearch) -> bool {
        let one_line = scan::end_of_line(body) == body.len();
        let (parts, guessed) = parts(body, format, search.parts);
        let names = names_of_object(&parts);
        for part in parts {
            // `add_text` has already added a single line as a whole.
            if one_line && part.is_line {
                continue;
            }
            if search.parts == 0 {
                search.unmasked.cut = true;
                break;
            }
            search.parts -= 1;
            // Reported line numbers are those of the secret: a part of a decoded text has the line of that text.
            let line = if position.depth == 0 { part.line } else { position.line };
            let at = Position {
                line,
                ..position.deeper()
            };
            let key = part.key.as_deref().unwrap_or_default();
            if names.contains(&key) {
                search.unmasked.names.add(line);
                continue;
            }
            if part.is_line {
                self.add_part(&part.text, TextOrigin::Line, line, search);
                self.add_inside(&part.text, TextOrigin::Line, at, search);
                continue;
            }
            if let Some(spelled) = part.spelled {
                self.add_spelled(spelled);
            }
            let origin = if credentials::is_login(key) {
                TextOrigin::Login
            } else {
                TextOrigin::Value
            };
            // `a=b` as a whole is hidden already. Only a guess makes it dotenv, so its unmasked parts are not reported.
            let kept = (one_line && guessed).then(|| search.unmasked.clone());
            self.add_text(&part.text, origin, Format::Raw, at, search);
            if let Some(kept) = kept {
                search.unmasked = kept;
            }
        }
        guessed
    }

    /// Adds the passwords inside one line, or inside a netrc.
    fn add_inside(&mut self, text: &str, origin: TextOrigin, position: Position, search: &mut SecretSearch) {
        if text.len() > MAX_ENCODED_BYTES {
            search.unmasked.not_encoded |= credentials::may_have_any(text);
            return;
        }
        credentials::find(text, origin == TextOrigin::Login, &mut |found| {
            let (text, origin) = match found {
                InnerSecret::Password(text) => (text, TextOrigin::Value),
                InnerSecret::Login(text) => (text, TextOrigin::Login),
                InnerSecret::Possible => {
                    search.unmasked.inside.add(position.line);
                    return;
                }
            };
            if search.parts == 0 {
                search.unmasked.cut = true;
                return;
            }
            search.parts -= 1;
            self.add_text(&text, origin, Format::Raw, position.deeper(), search);
        });
    }

    /// Adds a value as written in its file.
    fn add_spelled(&mut self, text: &str) {
        let one_line = scan::end_of_line(text) == text.len();
        let origin = if one_line { TextOrigin::Value } else { TextOrigin::Line };
        let lines = text.split(['\n', '\r']).map(str::trim);
        for line in lines.filter(|line| masking_of(line, origin) == Masking::Hide) {
            self.texts.insert(line.to_owned());
        }
    }

    /// Adds a text without line breaks, if the rule hides it. Returns whether it is hidden.
    fn add_part(&mut self, text: &str, origin: TextOrigin, line: usize, search: &mut SecretSearch) -> bool {
        let trimmed = text.trim();
        match masking_of(trimmed, origin) {
            Masking::Hide => {
                self.texts.insert(trimmed.to_owned());
                self.add_spellings(trimmed, search);
                return true;
            }
            Masking::TooShort => search.unmasked.too_short.add(line),
            Masking::Common => search.unmasked.common.add(line),
            Masking::Structure => {}
        }
        false
    }

    fn add_spellings(&mut self, text: &str, search: &mut SecretSearch) {
        if !spellings::has_any(text) {
            return;
        }
        if text.len() > MAX_ENCODED_BYTES {
            search.unmasked.not_encoded = true;
            return;
        }
        spellings::each(text, |spelled| {
            if spelled.len() > MAX_SPELLED_BYTES - self.spelled_bytes {
                search.unmasked.not_spelled = true;
            } else if self.texts.insert(spelled.clone()) {
                self.spelled_bytes += spelled.len();
            }
        });
    }

    fn add_encodings(&mut self, value: &[u8], is_masked: bool, search: &mut SecretSearch) {
        if value.len() > MAX_ENCODED_BYTES {
            search.unmasked.not_encoded = true;
            return;
        }
        let encoded = &mut self.encoded;
        encodings::each(value, is_masked, |text| {
            encoded.insert(text);
        });
        let wrapped = encodings::wrapped_lines(value.len());
        if wrapped > MAX_WRAPPED_LINES - self.wrapped_lines {
            search.unmasked.not_wrapped = true;
            return;
        }
        self.wrapped_lines += wrapped;
        encodings::wrapped(value, |text| {
            encoded.insert(text);
        });
    }
}

impl Position {
    /// The position of a text inside the text at this position.
    fn deeper(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }
}

impl SecretSearch {
    /// Whether the limits allow the search for values in a text. If not, records that values may stay unmasked.
    fn may_examine(&mut self, text: &str, position: Position) -> bool {
        if position.depth >= MAX_DEPTH {
            let (parts, guessed) = parts(text, Format::Raw, self.parts);
            self.unmasked.deep |= !guessed
                || parts.iter().any(|part| !part.is_line)
                || encodings::text_of_base64(text, MIN_BASE64_CHARS).is_some();
            return false;
        }
        match self.bytes.checked_sub(text.len()) {
            Some(left) => self.bytes = left,
            None => {
                self.unmasked.deep = true;
                return false;
            }
        }
        true
    }
}

/// The parts of a text (somewhat more than `most` at most), and whether the format was guessed.
fn parts(text: &str, format: Format, most: usize) -> (Vec<SecretPart<'_>>, bool) {
    if let Some(parts) = formats::parts(format, text, most) {
        return (parts, false);
    }
    let is_json = text.trim_start().starts_with(['{', '[']);
    match is_json.then(|| json::parts(text, most)).flatten() {
        Some(parts) => (parts, false),
        None => (scan::parts(text, most), true),
    }
}

#[cfg(test)]
mod tests;
