//! What the runner is told to hide in a job's log.
//!
//! The runner hides each text that it was given by `::add-mask::`, and some encodings of it, wherever it stands in a line
//! of the log. So the question is which texts: a secret that is printed in another form must stay hidden, and a secret
//! that has `{` or `true` in it must not turn every log into stars.
//!
//! # The rule, as `podkey.dev/mask` says it
//!
//! `smart` (the default) hides, of each secret of the job:
//!
//! - a value of one line: the whole of it;
//! - in a file that podkey wrote as JSON, YAML, dotenv or properties: each string and number in it, as it is and as the file
//!   spells it. The names of fields are no secret. podkey knows the format of such a file, and undoes exactly what it wrote;
//! - a value of several lines: each line. Where the value looks like JSON, YAML, dotenv (`NAME=value`) or properties: each
//!   string and number in it, without its name, its quotes and its punctuation;
//! - what is base64 of a text, as the `client-key-data` of a kubeconfig, or JSON in a string: the text inside too, by the same
//!   rule;
//! - a password inside one line, on its own: of a URL's user information (as it stands there, and without `%` escapes), of
//!   `user:password`, of docker's `auth`, of npmrc, netrc and pgpass, of what is assigned to a name like `Password`, `Pwd`,
//!   `AccountKey`, `sig` or `token` (connection strings, libpq, JDBC, URLs), of `Authorization`, `--password` and `--user`, of an
//!   XML element. The user's name and the host stay in sight. Where a line only may have a password inside, a warning says so;
//! - base64, base64url and hex of the whole value, of each string in it and of each password, if they have 8 bytes or more: as a
//!   part of a longer base64 too (but for two bytes at its end), and wrapped at 64 and at 76 characters as `openssl` and
//!   `base64` do;
//! - other spellings of each line, where it has such characters: an apostrophe as `'\''` and `'"'"'` (`set -x`, `export -p`),
//!   `"`, `$`, a backtick and a backslash in double quotes (bash's `declare -p`), what bash writes between `$'` and `'`, bytes in
//!   octal included, and by `printf %q`; in JSON `\u0026`, `\u003c`, `\u003e`, `\u2028` and `\u2029` (Go: kubectl, terraform, docker), all
//!   but ASCII as `\u00e4` (Python), and JSON as a string in JSON.
//!
//! A value that is no text is hidden in base64 and hex only; text of another encoding than UTF-8 by its lines too, as far as its
//! bytes are ASCII.
//!
//! The runner adds to each of these texts, by itself: its base64, also without its first one or two bytes; the text with `\"` for
//! `"`; with `''` for `'`; as a JSON string's inside (`"`, `\`, control characters, U+0085, U+2028 and U+2029 escaped, nothing else);
//! with `%` escapes in capitals for all but letters, digits and `-._~`; with XML's five entities; without the double quotes around
//! it, if it is longer than 8 characters; and the parts before and after PowerShell's `&`, from 6 characters on.
//! (`ValueEncoders.cs` of actions/runner 2.336.) It compares by case, and line by line.
//!
//! Nobody hides: a value in another case, reversed, cut, compressed or encrypted; `+` for a blank and `%` escapes in small letters;
//! XML's numeric entities; one-line base64 across two values; the escapes of other languages; artifacts, caches, and
//! other jobs.
//!
//! `smart` leaves in sight, and says so in one line for each secret:
//!
//! - what has fewer than 4 characters, or fewer than 8 and no letter or digit among them;
//! - numbers of fewer than 6 digits inside JSON, YAML, dotenv or properties;
//! - words that every log is full of (`true`, `default`, `localhost` …: [`COMMON`]);
//! - in a Kubernetes object: what stands at `apiVersion`, `kind`, `name` and `namespace`, and in a kubeconfig also at
//!   `cluster`, `user`, `context` and `current-context`;
//! - whatever goes beyond the limits: [`MAX_PIECES`], [`MAX_DEPTH`], [`MAX_ENCODED_BYTES`], [`MAX_WRAPPED_LINES`],
//!   [`MAX_SPELLED_BYTES`].
//!
//! Names of fields, lines of brackets and dashes, and the lines that begin and end a PEM block are no secret; nothing is said
//! of them.
//!
//! `lines` hides what vault-action hides: each line of each value, however short, and nothing else. Of a file, each line of the
//! file and of each field. `off` hides nothing.

mod credentials;
mod encodings;
mod formats;
mod json;
mod piece;
mod quotes;
mod scan;
mod spellings;
mod unmasked;
mod verdict;

use std::collections::BTreeSet;
use std::iter;

use zeroize::Zeroizing;

use crate::job::commands;
use crate::plan::{Format, Mask};
use credentials::Found;
use piece::Piece;
pub use unmasked::Unmasked;
pub use verdict::COMMON;
use verdict::{Origin, Verdict, names_of_object, verdict};

/// The most lines and values of one secret that are looked at.
pub const MAX_PIECES: usize = 8192;
/// A longer text is not hidden in base64, hex and other spellings; in a longer line no password is looked for.
pub const MAX_ENCODED_BYTES: usize = 16 * 1024;
/// The most lines of wrapped base64 in one job. The runner looks for each of them in each line of its log.
pub const MAX_WRAPPED_LINES: usize = 4096;
/// How deep values are looked into that are in values: by base64, or as JSON in a string. The lines of what is deeper are hidden, not
/// the values in it.
pub const MAX_DEPTH: usize = 8;
/// The most bytes of other spellings in one job.
pub const MAX_SPELLED_BYTES: usize = 4 * 1024 * 1024;
/// So many times its own size is looked into of a secret, counting a text again for each text that it stands in.
const LOOKED_INTO: usize = 16;
/// Shorter texts are no base64 that anyone would look into.
const LEAST_BASE64: usize = 8;

/// What is to be hidden in one job: add each secret, then print [`Masks::commands`] before anything else.
///
/// Most of the time that masking takes is for what is done with each byte, of which there are ten times as many as the secrets
/// have: so nothing here wipes what the agent's allocator wipes when it is freed.
pub struct Masks {
    mode: Mask,
    /// Parts of the secrets.
    texts: BTreeSet<String>,
    /// Their encodings, which have no character that a command escapes.
    encoded: BTreeSet<String>,
    wrapped_lines: usize,
    spelled_bytes: usize,
    unmasked: Vec<Unmasked>,
}

/// The search through one secret.
struct Search {
    unmasked: Unmasked,
    /// How many pieces may still be looked at.
    pieces: usize,
    /// How many bytes of texts may still be looked into.
    bytes: usize,
}

/// Where a text stands: in which line of the secret, and in how many others.
#[derive(Clone, Copy)]
struct Place {
    line: usize,
    depth: usize,
}

/// About so many bytes of commands are given at a time.
const PRINTED: usize = 64 * 1024;

impl Masks {
    /// Nothing to hide yet.
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

    /// Adds a secret as podkey wrote it in this format. The name stands in the warning about what stays in sight.
    pub fn add(&mut self, name: &str, format: Format, value: &[u8]) {
        match self.mode {
            Mask::Off => {}
            Mask::Lines => self.add_lines(format, value),
            Mask::Smart => {
                let mut search = Search {
                    unmasked: Unmasked::new(name),
                    pieces: MAX_PIECES,
                    bytes: LOOKED_INTO * value.len().max(1024),
                };
                self.add_value(format, value, &mut search);
                if !search.unmasked.is_nothing() {
                    self.unmasked.push(search.unmasked);
                }
            }
        }
    }

    /// How many texts there are to hide.
    pub fn len(&self) -> usize {
        self.texts.len() + self.encoded.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.encoded.is_empty()
    }

    /// Each text to hide.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().chain(&self.encoded).map(String::as_str)
    }

    /// Gives the workflow commands to `print`, whole lines at a time: what the hook writes to its standard output first of all.
    pub fn commands<E>(&self, mut print: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut lines = Vec::with_capacity(2 * PRINTED);
        let forms = self.encoded.iter().map(|form| (form, false));
        for (text, escaped) in self.texts.iter().map(|text| (text, true)).chain(forms) {
            match escaped {
                true => commands::add_mask(text, &mut lines),
                false => commands::add_mask_as_it_is(text, &mut lines),
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

    /// What stays in sight, a secret each.
    pub fn unmasked(&self) -> &[Unmasked] {
        &self.unmasked
    }

    /// The same in words: a line for all secrets of which the same is left.
    pub fn warnings(&self) -> Vec<String> {
        unmasked::warnings(&self.unmasked)
    }

    /// As vault-action does it: every line, whatever its length. (The runner refuses a blank one.) Of a file, each line of
    /// each field too.
    fn add_lines(&mut self, format: Format, value: &[u8]) {
        let text = Zeroizing::new(String::from_utf8_lossy(value).into_owned());
        let fields = formats::pieces(format, text.trim_end_matches('\n'), usize::MAX).unwrap_or_default();
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

    fn add_value(&mut self, format: Format, value: &[u8], search: &mut Search) {
        let top = Place { line: 1, depth: 0 };
        if let Ok(text) = std::str::from_utf8(value) {
            self.add_text(text, Origin::Whole, format, top, search);
            return;
        }
        self.add_encodings(value, false, search);
        // The text below has U+FFFD for some bytes, so the encodings of a variable's value are made here.
        if format == Format::Dotenv
            && let Some(value) = formats::value_of_dotenv(value)
        {
            self.add_encodings(&value, false, search);
        }
        // Text of another encoding, such as Latin-1, has lines and values all the same. The runner too reads U+FFFD for what
        // is no UTF-8.
        let text = Zeroizing::new(String::from_utf8_lossy(value).into_owned());
        let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        let mostly_ascii = value.iter().filter(|b| !b.is_ascii()).count() <= value.len() / 4;
        if mostly_ascii && !text.contains(is_control) {
            self.add_text(&text, Origin::Whole, format, top, search);
        } else {
            search.unmasked.binary = true;
        }
    }

    /// Adds a text, the values and lines inside it, and what it is base64 of.
    fn add_text(&mut self, text: &str, origin: Origin, format: Format, place: Place, search: &mut Search) {
        // A byte order mark is in the file and in no value.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let body = text.trim_end_matches(['\n', '\r']);
        // Blank lines may come before a value of one line.
        let line = body.trim_start_matches(['\n', '\r']);
        let is_line = scan::end_of_line(line) == line.len();
        let one_line = is_line && line.len() == body.len();
        let masked = is_line && self.add_piece(line, origin, place.line, search);
        // The white space around it too is in its encodings, and the runner has none.
        let whole = masked && body.trim().len() == body.len();
        if origin != Origin::Line && verdict(body.trim(), origin) == Verdict::Hide {
            self.add_encodings(body.as_bytes(), whole, search);
        }
        if !search.may_look_into(body, place) {
            if !one_line {
                for piece in body.split(['\n', '\r']) {
                    self.add_piece(piece, Origin::Line, place.line, search);
                }
            }
            return;
        }
        let guessed = self.add_pieces(body, format, place, search);
        if one_line && guessed || credentials::is_netrc(body) {
            self.add_inside(body, origin, place, search);
        }
        if let Some(unescaped) = quotes::escaped_json(body) {
            self.add_text(&unescaped, Origin::Value, Format::Json, place.deeper(), search);
        }
        if origin != Origin::Line
            && let Some(decoded) = encodings::text_of_base64(body, LEAST_BASE64)
        {
            let origin = if origin == Origin::Login { origin } else { Origin::Value };
            self.add_text(&decoded, origin, Format::Raw, place.deeper(), search);
        }
    }

    /// Adds the values and the lines inside a text: as its format says, else as it looks. Returns whether they are guessed.
    fn add_pieces(&mut self, body: &str, format: Format, place: Place, search: &mut Search) -> bool {
        let one_line = scan::end_of_line(body) == body.len();
        let (pieces, guessed) = pieces(body, format, search.pieces);
        let names = names_of_object(&pieces);
        for piece in pieces {
            // The whole of a single line is dealt with already.
            if one_line && piece.is_line {
                continue;
            }
            if search.pieces == 0 {
                search.unmasked.cut = true;
                break;
            }
            search.pieces -= 1;
            // Places are lines of the secret itself; inside of what was decoded, they are its own.
            let line = if place.depth == 0 { piece.line } else { place.line };
            let at = Place { line, ..place.deeper() };
            let key = piece.key.as_deref().unwrap_or_default();
            if names.contains(&key) {
                search.unmasked.names.add(line);
                continue;
            }
            if piece.is_line {
                self.add_piece(&piece.text, Origin::Line, line, search);
                self.add_inside(&piece.text, Origin::Line, at, search);
                continue;
            }
            if let Some(spelled) = piece.spelled {
                self.add_spelled(spelled);
            }
            let origin = if credentials::is_login(key) {
                Origin::Login
            } else {
                Origin::Value
            };
            // `a=b` is hidden already; it may be dotenv, and need not be.
            let kept = (one_line && guessed).then(|| search.unmasked.clone());
            self.add_text(&piece.text, origin, Format::Raw, at, search);
            if let Some(kept) = kept {
                search.unmasked = kept;
            }
        }
        guessed
    }

    /// Adds the passwords inside one line, or inside a netrc.
    fn add_inside(&mut self, text: &str, origin: Origin, place: Place, search: &mut Search) {
        if text.len() > MAX_ENCODED_BYTES {
            search.unmasked.not_encoded |= credentials::may_have_any(text);
            return;
        }
        credentials::find(text, origin == Origin::Login, &mut |found| {
            let (text, origin) = match found {
                Found::Password(text) => (text, Origin::Value),
                Found::Login(text) => (text, Origin::Login),
                Found::Perhaps => {
                    search.unmasked.inside.add(place.line);
                    return;
                }
            };
            if search.pieces == 0 {
                search.unmasked.cut = true;
                return;
            }
            search.pieces -= 1;
            self.add_text(&text, origin, Format::Raw, place.deeper(), search);
        });
    }

    /// Adds a value as it is spelled in its file.
    fn add_spelled(&mut self, text: &str) {
        let one_line = scan::end_of_line(text) == text.len();
        let origin = if one_line { Origin::Value } else { Origin::Line };
        let lines = text.split(['\n', '\r']).map(str::trim);
        for line in lines.filter(|line| verdict(line, origin) == Verdict::Hide) {
            self.texts.insert(line.to_owned());
        }
    }

    /// Adds a text without line breaks, if the rule says so. Returns whether it did.
    fn add_piece(&mut self, text: &str, origin: Origin, line: usize, search: &mut Search) -> bool {
        let trimmed = text.trim();
        match verdict(trimmed, origin) {
            Verdict::Hide => {
                self.texts.insert(trimmed.to_owned());
                self.add_spellings(trimmed, search);
                return true;
            }
            Verdict::TooShort => search.unmasked.too_short.add(line),
            Verdict::Common => search.unmasked.common.add(line),
            Verdict::Structure => {}
        }
        false
    }

    fn add_spellings(&mut self, text: &str, search: &mut Search) {
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

    fn add_encodings(&mut self, value: &[u8], is_masked: bool, search: &mut Search) {
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

impl Place {
    /// Inside of what stands here.
    fn deeper(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }
}

impl Search {
    /// Whether the values in a text are to be looked for. Notes what stays in sight where they are not.
    fn may_look_into(&mut self, text: &str, place: Place) -> bool {
        if place.depth >= MAX_DEPTH {
            let (pieces, guessed) = pieces(text, Format::Raw, self.pieces);
            self.unmasked.deep |= !guessed
                || pieces.iter().any(|piece| !piece.is_line)
                || encodings::text_of_base64(text, LEAST_BASE64).is_some();
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

/// The parts of a text, somewhat more than `most` at most, and whether they are guessed.
fn pieces(text: &str, format: Format, most: usize) -> (Vec<Piece<'_>>, bool) {
    if let Some(pieces) = formats::pieces(format, text, most) {
        return (pieces, false);
    }
    let is_json = text.trim_start().starts_with(['{', '[']);
    match is_json.then(|| json::pieces(text, most)).flatten() {
        Some(pieces) => (pieces, false),
        None => (scan::pieces(text, most), true),
    }
}

#[cfg(test)]
mod tests;
