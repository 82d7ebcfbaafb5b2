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
//! - a value of several lines: each line. Where the value is JSON, YAML or dotenv (`NAME=value`): each string and number
//!   in it, without its name, its quotes and its punctuation;
//! - what is base64 of a text, as the `client-key-data` of a kubeconfig: the text too, by the same rule;
//! - base64, base64url and hex of the whole value, and of each string in it, if they have 8 bytes or more: as a part of a
//!   longer base64 too (but for two bytes at its end), and wrapped at 64 and at 76 characters as `openssl` and `base64` do.
//!   (The runner itself adds base64, and the escapes of JSON, URLs, XML and shells.) A value that is no text is hidden in
//!   these forms only; text of another encoding than UTF-8 by its lines too, as far as its bytes are ASCII.
//!
//! `smart` leaves in sight, and says so in one line for each secret:
//!
//! - what has fewer than 4 characters, or fewer than 8 and no letter or digit among them;
//! - numbers of fewer than 6 digits inside JSON, YAML or dotenv;
//! - words that every log is full of (`true`, `default`, `localhost` …: [`COMMON`]);
//! - in a Kubernetes object: what stands at `apiVersion`, `kind`, `name` and `namespace`, and in a kubeconfig also at
//!   `cluster`, `user`, `context` and `current-context`;
//! - whatever goes beyond the limits: [`MAX_PIECES`], [`MAX_DEPTH`], [`MAX_ENCODED_BYTES`], [`MAX_WRAPPED_LINES`].
//!
//! Names of fields, lines of brackets and dashes, and the lines that begin and end a PEM block are no secret; nothing is said
//! of them.
//!
//! `lines` hides what vault-action hides: each line of each value, however short, and nothing else. `off` hides nothing.

mod encodings;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use zeroize::Zeroizing;

use crate::job::commands;
use crate::plan::Mask;

/// The most lines and values of one secret that are looked at.
pub const MAX_PIECES: usize = 8192;
/// A longer text is not hidden in base64 and hex.
pub const MAX_ENCODED_BYTES: usize = 16 * 1024;
/// The most lines of wrapped base64 in one job. The runner looks for each of them in each line of its log.
pub const MAX_WRAPPED_LINES: usize = 4096;
/// How deep values are looked into that are in values: by base64, or as JSON in a string. The lines of what is deeper are hidden, not
/// the values in it.
pub const MAX_DEPTH: usize = 8;
/// Shorter texts are not hidden.
const LEAST_CHARS: usize = 4;
/// Shorter texts of punctuation alone are not hidden.
const LEAST_PUNCTUATION: usize = 8;
/// Smaller numbers inside a structured value are not hidden.
const LEAST_DIGITS: usize = 6;
/// Shorter texts are no base64 that anyone would look into.
const LEAST_BASE64: usize = 8;

/// Words that are never hidden, in small letters: every log is full of them.
#[rustfmt::skip]
pub const COMMON: &[&str] = &[
    "true", "false", "null", "none", "undefined", "enabled", "disabled", "auto", "default", "always", "never",
    "debug", "info", "warn", "warning", "error", "fatal", "trace", "http", "https", "http://", "https://", "grpc",
    "localhost", "127.0.0.1", "0.0.0.0", "utf-8", "utf8", "json", "yaml", "text", "string", "number", "boolean", "object",
    "main", "master", "latest", "test", "tests", "prod", "production", "stage", "staging", "development", "local",
    "admin", "root", "user", "users", "name", "names", "group", "guest", "public", "private", "internal", "system",
    "password", "username", "secret", "token", "data", "value", "type", "config", "server", "service", "client", "host",
    "port", "path", "file", "home", "/tmp", "/dev/null", "/bin/sh", "/bin/bash", "bash", "node", "python",
    "github", "actions", "runner", "docker", "linux", "ubuntu", "windows", "kubernetes", "cluster", "namespace", "context",
    "vault", "openbao", "postgres", "postgresql", "mysql", "redis", "mongodb", "database", "amd64", "arm64",
    "v1beta1", "v1alpha1", "apps/v1", "opaque",
];

/// The fields of a Kubernetes object, and of a kubeconfig, whose values are names, not secrets.
const NAMES_OF_OBJECTS: [&str; 4] = ["apiVersion", "kind", "name", "namespace"];
const NAMES_OF_KUBECONFIG: [&str; 8] = [
    "apiVersion",
    "kind",
    "name",
    "namespace",
    "cluster",
    "user",
    "context",
    "current-context",
];

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
    unmasked: Vec<Unmasked>,
}

/// About so many bytes of commands are given at a time.
const PRINTED: usize = 64 * 1024;

/// What of one secret stays in sight, for a warning. Its `Display` has places and numbers, never a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unmasked {
    name: String,
    too_short: Places,
    common: Places,
    names: Places,
    binary: bool,
    not_encoded: bool,
    not_wrapped: bool,
    cut: bool,
    deep: bool,
}

/// How many, and the lines of the first few.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Places {
    count: usize,
    lines: Vec<usize>,
}

impl Places {
    fn add(&mut self, line: usize) {
        self.count += 1;
        if self.lines.len() < 5 && self.lines.last() != Some(&line) {
            self.lines.push(line);
        }
    }
}

/// Where a text comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It is the secret.
    Whole,
    /// A line of a text.
    Line,
    /// A value inside a structured text, or what such a one was base64 of.
    Value,
}

/// What becomes of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Hide,
    TooShort,
    Common,
    /// Punctuation, or what frames a secret.
    Structure,
}

impl Masks {
    /// Nothing to hide yet.
    pub fn new(mode: Mask) -> Self {
        Self {
            mode,
            texts: BTreeSet::new(),
            encoded: BTreeSet::new(),
            wrapped_lines: 0,
            unmasked: Vec::new(),
        }
    }

    /// Adds a secret. The name stands in the warning about what stays in sight.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        match self.mode {
            Mask::Off => {}
            Mask::Lines => self.add_lines(value),
            Mask::Smart => {
                let mut unmasked = Unmasked {
                    name: name.to_owned(),
                    ..Unmasked::default()
                };
                match std::str::from_utf8(value) {
                    Ok(text) => {
                        let mut left = MAX_PIECES;
                        self.add_text(text, Origin::Whole, 1, 0, &mut left, &mut unmasked);
                    }
                    Err(_) => {
                        self.add_encodings(value, false, &mut unmasked);
                        // Text of another encoding, such as Latin-1, has lines and values all the same. The runner too
                        // reads U+FFFD for what is no UTF-8.
                        let text = Zeroizing::new(String::from_utf8_lossy(value).into_owned());
                        let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
                        let mostly_ascii = value.iter().filter(|b| !b.is_ascii()).count() <= value.len() / 4;
                        if mostly_ascii && !text.contains(is_control) {
                            let mut left = MAX_PIECES;
                            self.add_text(&text, Origin::Whole, 1, 0, &mut left, &mut unmasked);
                        } else {
                            unmasked.binary = true;
                        }
                    }
                }
                let nothing = Unmasked {
                    name: name.to_owned(),
                    ..Unmasked::default()
                };
                if unmasked != nothing {
                    self.unmasked.push(unmasked);
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
        const NAMED: usize = 8;
        let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for unmasked in &self.unmasked {
            alike.entry(unmasked.what()).or_default().push(&unmasked.name);
        }
        let line = |(what, names): (String, Vec<&str>)| {
            let more = match names.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!(
                "{}{more}: left unmasked: {what}",
                names[..names.len().min(NAMED)].join(", ")
            )
        };
        alike.into_iter().map(line).collect()
    }

    /// As vault-action does it: every line, whatever its length. (The runner refuses a blank one.)
    fn add_lines(&mut self, value: &[u8]) {
        let text = Zeroizing::new(String::from_utf8_lossy(value).replace('\r', ""));
        for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
            self.texts.insert(line.to_owned());
        }
    }

    fn add_text(
        &mut self,
        text: &str,
        origin: Origin,
        line: usize,
        depth: usize,
        left: &mut usize,
        unmasked: &mut Unmasked,
    ) {
        // A byte order mark is in the file and in no value.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let body = text.trim_end_matches(['\n', '\r']);
        let one_line = scan::end_of_line(body) == body.len();
        let masked = one_line && self.add_piece(body, origin, line, unmasked);
        // The white space around it too is in its encodings, and the runner has none.
        let whole = masked && body.trim().len() == body.len();
        if origin != Origin::Line && verdict(body.trim(), origin) == Verdict::Hide {
            self.add_encodings(body.as_bytes(), whole, unmasked);
        }
        if depth >= MAX_DEPTH {
            if !one_line {
                for piece in body.split(['\n', '\r']) {
                    self.add_piece(piece, Origin::Line, line, unmasked);
                }
            }
            let (structure, pieces) = scan::pieces(body, *left);
            unmasked.deep |= structure == scan::Structure::Json
                || pieces.iter().any(|piece| !piece.is_line)
                || encodings::text_of_base64(body, LEAST_BASE64).is_some();
            return;
        }
        let (structure, pieces) = scan::pieces(body, *left);
        let names = names_of_object(&pieces);
        for piece in pieces {
            // The whole of a single line was dealt with above.
            if one_line && piece.key.is_none() && structure != scan::Structure::Json {
                continue;
            }
            if *left == 0 {
                unmasked.cut = true;
                break;
            }
            *left -= 1;
            // Places are lines of the secret itself; inside of what was decoded, they are its own.
            let at = if depth == 0 { piece.line } else { line };
            if piece.key.as_deref().is_some_and(|key| names.contains(&key)) {
                unmasked.names.add(at);
            } else if piece.is_line {
                self.add_piece(&piece.text, Origin::Line, at, unmasked);
            } else if one_line && structure != scan::Structure::Json {
                // `a=b` is hidden already; it may be dotenv, and need not be.
                self.add_text(
                    &piece.text,
                    Origin::Value,
                    at,
                    depth + 1,
                    left,
                    &mut Unmasked::default(),
                );
            } else {
                self.add_text(&piece.text, Origin::Value, at, depth + 1, left, unmasked);
            }
        }
        if origin != Origin::Line
            && let Some(decoded) = encodings::text_of_base64(body, LEAST_BASE64)
        {
            self.add_text(&decoded, Origin::Value, line, depth + 1, left, unmasked);
        }
    }

    /// Adds a text without line breaks, if the rule says so. Returns whether it did.
    fn add_piece(&mut self, text: &str, origin: Origin, line: usize, unmasked: &mut Unmasked) -> bool {
        let trimmed = text.trim();
        match verdict(trimmed, origin) {
            Verdict::Hide => {
                self.texts.insert(trimmed.to_owned());
                return true;
            }
            Verdict::TooShort => unmasked.too_short.add(line),
            Verdict::Common => unmasked.common.add(line),
            Verdict::Structure => {}
        }
        false
    }

    fn add_encodings(&mut self, value: &[u8], is_masked: bool, unmasked: &mut Unmasked) {
        if value.len() > MAX_ENCODED_BYTES {
            unmasked.not_encoded = true;
            return;
        }
        let encoded = &mut self.encoded;
        encodings::each(value, is_masked, |text| {
            encoded.insert(text);
        });
        let wrapped = encodings::wrapped_lines(value.len());
        if wrapped > MAX_WRAPPED_LINES - self.wrapped_lines {
            unmasked.not_wrapped = true;
            return;
        }
        self.wrapped_lines += wrapped;
        encodings::wrapped(value, |text| {
            encoded.insert(text);
        });
    }
}

/// The fields whose values are no secret in this text.
fn names_of_object(pieces: &[scan::Piece<'_>]) -> &'static [&'static str] {
    let field = |name| pieces.iter().find(|piece| piece.is_field(name));
    match (field("apiVersion"), field("kind")) {
        (Some(_), Some(kind)) if kind.text == "Config" => &NAMES_OF_KUBECONFIG,
        (Some(_), Some(_)) => &NAMES_OF_OBJECTS,
        _ => &[],
    }
}

/// The rule for one text without line breaks and without white space around it.
fn verdict(text: &str, origin: Origin) -> Verdict {
    if text.is_empty() {
        return Verdict::Structure;
    }
    let chars = text.chars().take(LEAST_PUNCTUATION).count();
    if !text.chars().any(char::is_alphanumeric) && chars < LEAST_PUNCTUATION {
        return match origin {
            Origin::Line => Verdict::Structure,
            Origin::Whole | Origin::Value => Verdict::TooShort,
        };
    }
    if origin == Origin::Line && frames_pem(text) {
        return Verdict::Structure;
    }
    if chars < LEAST_CHARS {
        return Verdict::TooShort;
    }
    if COMMON.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Verdict::Common;
    }
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b"+-.,_eE".contains(&b));
    if origin == Origin::Value && is_number && text.bytes().filter(u8::is_ascii_digit).count() < LEAST_DIGITS {
        return Verdict::TooShort;
    }
    Verdict::Hide
}

/// A line that begins or ends a PEM block, and has nothing of what is in it.
fn frames_pem(line: &str) -> bool {
    let label = line
        .strip_prefix("-----BEGIN ")
        .or_else(|| line.strip_prefix("-----END "));
    label
        .and_then(|label| label.strip_suffix("-----"))
        .is_some_and(|label| {
            label.len() <= 64
                && label
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ')
        })
}

impl Unmasked {
    /// The name that the secret was added by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is left, and why.
    fn what(&self) -> String {
        let mut parts: Vec<String> = [
            (&self.too_short, "too short"),
            (&self.common, "too common a word"),
            (&self.names, "a name in a Kubernetes object"),
        ]
        .into_iter()
        .filter(|(places, _)| places.count > 0)
        .map(|(places, why)| {
            let lines: Vec<String> = places.lines.iter().map(usize::to_string).collect();
            let more = if places.count > places.lines.len() { " …" } else { "" };
            format!("{} {why} (line {}{more})", places.count, lines.join(", "))
        })
        .collect();
        for (yes, text) in [
            (self.binary, "it is no text: only its base64 and hex are masked"),
            (self.not_encoded, "base64 and hex of what is longer than 16 KiB"),
            (self.not_wrapped, "wrapped base64, of which this job has too much"),
            (self.cut, "all after its first 8192 lines and values"),
            (self.deep, "values that are more than 8 levels deep in others"),
        ] {
            if yes {
                parts.push(text.to_owned());
            }
        }
        parts.join("; ")
    }
}

impl fmt::Display for Unmasked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: left unmasked: {}", self.name, self.what())
    }
}

#[cfg(test)]
mod tests;
