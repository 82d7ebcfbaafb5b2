//! Passwords inside one line, which a log may show without the rest of the line: in a URL, a connection string, the files of
//! curl, npm and PostgreSQL, a header. The search reports certain passwords, and separately lines that may have a password.
//!
//! The time of each search is proportional to the length of the line: a search tries at most [`MAX_TRIED`] places, and reads at
//! most [`MAX_PASSWORD`] bytes from each place.

mod signs;

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::job::masks::quotes::{closing_quote, unescaped};
use crate::job::masks::rule::{is_common, is_number};
pub(super) use signs::is_login;
use signs::{MAX_NAME, is_address, is_path, is_secret, is_version, looks_secret};

/// The most URLs, and the most assignments, that are examined in a line.
const MAX_TRIED: usize = 64;
/// The longest password that is found, in bytes.
const MAX_PASSWORD: usize = 4096;
/// The shortest text that counts as a password.
const MIN_PASSWORD_CHARS: usize = 4;

/// A secret inside a line.
pub(super) enum InnerSecret<'a> {
    /// A password, a token, a key.
    Password(Cow<'a, str>),
    /// A user's name and a password, with a colon between them, or the base64 of both.
    Login(Cow<'a, str>),
    /// The line may have a password, but where the password begins and ends is not certain.
    Possible,
}

/// The first [`MAX_PASSWORD`] bytes of a text.
fn bounded(text: &str) -> &str {
    let mut end = text.len().min(MAX_PASSWORD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether [`find`] could find anything in a line.
pub(super) fn may_have_any(line: &str) -> bool {
    line.bytes().any(|b| matches!(b, b':' | b'=' | b' ' | b'\t' | b'<'))
}

/// Passes each secret inside a line to `add`. `is_login`: the line is certainly `user:password`. A netrc may have several lines.
pub(super) fn find<'a>(line: &'a str, is_login: bool, add: &mut dyn FnMut(InnerSecret<'a>)) {
    if !may_have_any(line) {
        return;
    }
    let mut search = LineSearch {
        line: line.trim(),
        found: false,
        add,
    };
    if is_netrc(line) {
        search.netrc();
        return;
    }
    search.urls();
    search.assigned();
    search.header();
    search.xml();
    if !search.found {
        search.pgpass();
    }
    if !search.found {
        search.login(is_login);
    }
    if !search.found {
        search.words();
    }
}

/// Whether curl and git read the text as a `.netrc` file: a machine, then the words `login` and `password`.
pub(super) fn is_netrc(text: &str) -> bool {
    let text = text.trim_start();
    if !["machine", "default", "login", "#"]
        .iter()
        .any(|word| text.starts_with(word))
    {
        return false;
    }
    let mut lines = text.split(['\n', '\r']).map(str::trim_start);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    let mut words = first.unwrap_or_default().split_whitespace();
    let begins = matches!(words.next(), Some("machine" | "default" | "login"));
    begins && text.split_whitespace().any(|word| word == "password")
}

/// The search through one line.
struct LineSearch<'a, 'f> {
    line: &'a str,
    found: bool,
    add: &'f mut dyn FnMut(InnerSecret<'a>),
}

impl<'a> LineSearch<'a, '_> {
    fn add(&mut self, found: InnerSecret<'a>) {
        self.found = true;
        (self.add)(found);
    }

    fn password(&mut self, text: &'a str) {
        if !text.is_empty() {
            self.add(InnerSecret::Password(Cow::Borrowed(text)));
        }
    }

    fn decoded(&mut self, text: Option<String>) {
        if let Some(text) = text {
            self.add(InnerSecret::Password(Cow::Owned(text)));
        }
    }

    /// `scheme://user:password@host`. A token may stand in the user's place.
    fn urls(&mut self) {
        let line = self.line;
        for (tried, (at, _)) in line.match_indices("://").enumerate() {
            if tried == MAX_TRIED {
                self.add(InnerSecret::Possible);
                return;
            }
            let rest = bounded(&line[at + 3..]);
            let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`');
            let url = &rest[..rest.find(is_end).unwrap_or(rest.len())];
            let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
            let strictly = authority.rsplit_once('@').map(|(user, _)| user);
            if let Some(user) = strictly {
                self.user_info(user);
            }
            // If a password has `/`, `?`, `#` or `@` without an escape, programs disagree about its end.
            let loosely = url.rsplit_once('@').map(|(user, _)| user);
            if let Some(user) = loosely.filter(|_| loosely != strictly) {
                let password = user.split_once(':').map(|(_, password)| password);
                let port = password.and_then(|password| password.split(['/', '?', '#']).next());
                match port {
                    Some(port) if !is_number(port) => self.user_info(user),
                    // A port, and an `@` in the path; or a password that begins with digits.
                    Some(_) if strictly.is_none() => self.add(InnerSecret::Possible),
                    _ => {}
                }
            }
        }
    }

    fn user_info(&mut self, user_info: &'a str) {
        match user_info.split_once(':') {
            Some((_, password)) if !password.is_empty() => {
                self.password(password);
                self.decoded(percent_decoded(password));
            }
            _ => {
                let user = user_info.trim_end_matches(':');
                if user.len() >= 16 && looks_secret(user) && user.bytes().any(|b| b.is_ascii_digit()) {
                    self.password(user);
                    self.decoded(percent_decoded(user));
                }
            }
        }
    }

    /// `Password=…;`, `&sig=…`, `password='…'`, `//registry/:_authToken=…`.
    fn assigned(&mut self) {
        let line = self.line;
        let mut tried = 0;
        for (at, _) in line.match_indices('=') {
            let before = line[..at].trim_end_matches([' ', '\t']);
            let name = before.bytes().rev().take(MAX_NAME + 1);
            let length = name
                .take_while(|b| b.is_ascii_alphanumeric() || b"_-.".contains(b))
                .count();
            let name = &before[before.len() - length..];
            let (is_login, is_secret) = (is_login(name), is_secret(name));
            if length > MAX_NAME || !(is_login || is_secret) {
                continue;
            }
            if tried == MAX_TRIED {
                self.add(InnerSecret::Possible);
                return;
            }
            tried += 1;
            let rest = bounded(line[at + 1..].trim_start_matches([' ', '\t']));
            match rest.bytes().next() {
                // The end of base64, or a comparison.
                None | Some(b'=') => {}
                _ if is_login => {
                    let end = rest.find([';', '&', ' ', '\t']).unwrap_or(rest.len());
                    self.add(InnerSecret::Login(rest[..end].trim_matches(['"', '\'']).into()));
                }
                Some(quote @ (b'"' | b'\'' | b'{')) => self.quoted(rest, quote),
                Some(_) => self.unquoted(rest),
            }
        }
    }

    /// A value in quotes, or in the braces of ODBC. A closing quote that is doubled or follows a backslash is a part of the value.
    fn quoted(&mut self, text: &'a str, quote: u8) {
        let quote = if quote == b'{' { b'}' } else { quote };
        let bytes = text.as_bytes();
        let mut at = 1;
        while at < bytes.len() {
            match bytes[at] {
                b'\\' if quote != b'}' => at += 2,
                byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
                byte if byte == quote => break,
                _ => at += 1,
            }
        }
        let Some(inside) = text.get(1..at).filter(|_| at < bytes.len()) else {
            return self.unquoted(text);
        };
        self.password(inside);
        let quote = char::from(quote);
        let undoubled = inside.replace(&format!("{quote}{quote}"), &quote.to_string());
        let mut unescaped = String::with_capacity(inside.len());
        let mut chars = inside.chars();
        while let Some(c) = chars.next() {
            unescaped.extend(if c == '\\' { chars.next() } else { Some(c) });
        }
        for undone in [undoubled, unescaped] {
            self.decoded(Some(undone).filter(|undone| undone != inside));
        }
    }

    /// A value that ends before the next assignment: at a semicolon, in a URL at `&`, or at a blank.
    fn unquoted(&mut self, text: &'a str) {
        let to = |end: &[char]| &text[..text.find(end).unwrap_or(text.len())];
        let by_semicolon = to(&[';']).trim_end();
        let by_others = to(&['&', ' ', '\t']);
        let (first, second) = match self.line.contains(';') {
            true => (by_semicolon, by_others),
            // Outside of a URL, `&` has no meaning.
            false if self.line.contains('?') => (by_others, by_others),
            false => (by_others, to(&[' ', '\t'])),
        };
        self.password(first);
        self.decoded(percent_decoded(first));
        let bare = first.trim_end_matches(['"', '\'', ',', ')']);
        for other in [second, bare] {
            if other != first && looks_secret(other) {
                self.password(other);
            }
        }
    }

    /// `Authorization: Bearer …`, and a scheme with its token alone.
    fn header(&mut self) {
        // For speed: only the two usual spellings of the name.
        let named = ["uthorization", "UTHORIZATION"].iter().find_map(|name| {
            let (_, after) = self.line.split_once(name)?;
            after
                .trim_start_matches(['"', '\'', '\\', ' '])
                .strip_prefix([':', '='])
        });
        let after = named.unwrap_or(self.line);
        let is_frame = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | ':' | '=' | ',');
        let after = bounded(after.trim_start_matches(is_frame));
        let mut words = after.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ','));
        let scheme = words.next().unwrap_or_default();
        let token = words.find(|word| !word.is_empty()).unwrap_or_default();
        let is = |names: &[&str]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
        let is_basic = is(&["Basic"]);
        if named.is_none() {
            let is_alone = after.len() == scheme.len() + 1 + token.len();
            let is_known = is_basic || is(&["Bearer", "Token", "ApiKey", "Negotiate", "Splunk"]);
            if !(is_alone && is_known && looks_secret(token)) {
                return;
            }
        }
        match token {
            "" => self.password(if is_common(scheme) { "" } else { scheme }),
            _ if is_basic => self.add(InnerSecret::Login(token.into())),
            _ => self.password(token),
        }
    }

    /// `<password>…</password>`, `<add key="Password" value="…"/>`.
    fn xml(&mut self) {
        let Some(tag) = self.line.strip_prefix('<').filter(|_| self.line.ends_with('>')) else {
            return;
        };
        let name = &tag[..tag.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(tag.len())];
        if name.len() > MAX_NAME {
            return;
        }
        let inside = tag.split_once('>').and_then(|(_, after)| after.rsplit_once("</"));
        if let Some((inside, _)) = inside.filter(|_| is_secret(name)) {
            self.entities(inside);
        }
        let key = attribute(tag, "key=\"").or_else(|| attribute(tag, "name=\""));
        let (Some(key), Some(value)) = (key, attribute(tag, "value=\"")) else {
            return;
        };
        if key.len() <= MAX_NAME && is_secret(key) {
            self.entities(value);
        }
    }

    fn entities(&mut self, text: &'a str) {
        self.password(text);
        if text.contains('&') {
            let plain = [
                ("&lt;", "<"),
                ("&gt;", ">"),
                ("&quot;", "\""),
                ("&apos;", "'"),
                ("&amp;", "&"),
            ]
            .iter()
            .fold(text.to_owned(), |text, (entity, c)| text.replace(entity, c));
            self.decoded(Some(plain));
        }
    }

    /// `host:port:database:user:password`, where a backslash escapes.
    fn pgpass(&mut self) {
        let mut fields = [""; 4];
        let mut rest = self.line;
        for field in &mut fields {
            let mut bytes = rest.bytes().enumerate();
            let mut end = None;
            while let Some((at, byte)) = bytes.next() {
                match byte {
                    b'\\' => drop(bytes.next()),
                    b':' => {
                        end = Some(at);
                        break;
                    }
                    _ => {}
                }
            }
            let Some(end) = end else {
                return;
            };
            (*field, rest) = (&rest[..end], &rest[end + 1..]);
        }
        let [host, port, ..] = fields;
        let is_port = port == "*" || port.len() <= 5 && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let is_host = host == "*" || host.contains(|c: char| c.is_alphabetic() || c == '.');
        if is_port && is_host && !host.contains(char::is_whitespace) {
            self.password(rest);
            if rest.contains('\\') {
                let mut chars = rest.chars();
                let mut plain = String::with_capacity(rest.len());
                while let Some(c) = chars.next() {
                    plain.extend(if c == '\\' { chars.next() } else { Some(c) });
                }
                self.decoded(Some(plain));
            }
        }
    }

    /// `machine … login … password …`, in one line or several.
    fn netrc(&mut self) {
        let mut rest = self.line;
        while let Some((word, after)) = word(rest) {
            rest = after;
            if matches!(word, "password" | "account")
                && let Some((value, after)) = netrc_value(rest)
            {
                rest = after;
                self.password(value);
                if value.contains('\\') {
                    self.decoded(Some(unescaped(value).into_owned()).filter(|plain| plain != value));
                }
            }
        }
    }

    /// `user:password`, and `user:password@host`.
    fn login(&mut self, is_login: bool) {
        let Some((user, password)) = self.line.split_once(':') else {
            return;
        };
        if is_login {
            return self.password(password);
        }
        let is_user = |c: char| c.is_alphanumeric() || "._@+-\\$".contains(c);
        if user.is_empty()
            || user.len() > MAX_NAME
            || !user.chars().all(is_user)
            || is_path(password)
            || is_address(user, password)
        {
            return;
        }
        if let Some((word, _)) = password.split_once(char::is_whitespace) {
            // A sentence, or a password of several words.
            if looks_secret(word) {
                self.add(InnerSecret::Possible);
            }
            return;
        }
        // `git@github.com:octo-org/octo-repo`.
        if user.contains('@') && password.contains('/') {
            return;
        }
        if let Some((inside, _)) = password.rsplit_once('@')
            && inside.chars().count() >= MIN_PASSWORD_CHARS
        {
            self.password(inside);
        }
        if looks_secret(password) {
            self.password(password);
        } else if password.chars().count() >= MIN_PASSWORD_CHARS && !is_common(password) && !is_version(password) {
            self.add(InnerSecret::Possible);
        }
    }

    /// `--password …`, `-u user:password`, and a line with the word password.
    fn words(&mut self) {
        if self.line.starts_with(['#', ';']) || self.line.starts_with("//") {
            return;
        }
        let mut words = self.line.split_whitespace().peekable();
        let mut may_follow = false;
        while let Some(word) = words.next() {
            let Some(next) = words.peek().copied() else {
                break;
            };
            let next = next.trim_matches(['"', '\'']);
            if word.len() > MAX_NAME || next.len() > MAX_PASSWORD {
                continue;
            }
            if word.starts_with("--") && is_secret(word) && !next.starts_with('-') {
                self.password(next);
            } else if matches!(word, "-u" | "-U" | "--user" | "--proxy-user") && next.contains(':') {
                self.add(InnerSecret::Login(next.into()));
            } else {
                let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
                let names = ["password", "passwd", "passphrase", "pwd"];
                // Behind `:` or `=` the scanner finds the value.
                let is_named = word.ends_with([':', '=']) || next.starts_with([':', '=']);
                may_follow |= !is_named && names.iter().any(|name| name.eq_ignore_ascii_case(bare));
            }
        }
        if may_follow && !self.found {
            self.add(InnerSecret::Possible);
        }
    }
}

/// The value of an attribute: up to the next quote.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = tag.split_once(name)?;
    Some(after.split_once('"')?.0)
}

/// The next word, and the text after it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// The next word, which may be in quotes as for curl.
fn netrc_value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    match text.starts_with('"').then(|| closing_quote(text)).flatten() {
        Some(end) => Some((&text[1..end], &text[end + 1..])),
        None => word(text),
    }
}

/// The text without a URL's escapes. None: it has no escapes.
fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    (decoded != text).then(|| decoded.into_owned())
}
