//! The signs of a password: the name before the password, or the password's characters. And texts that look like `user:password` but
//! are something else.

use crate::job::masks::rule::is_number;

/// The longest name before a password, and the longest name of a user.
pub(super) const MAX_NAME: usize = 64;

/// Whether the value of a field of this name is `user:password`, or base64 of that: `auth` of docker, `_auth` of npm.
pub(in crate::job::masks) fn is_login(name: &str) -> bool {
    let ends = |end: &str| {
        name.len() <= MAX_NAME
            && name.len() >= end.len()
            && name.as_bytes()[name.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
    };
    ends("auth") && !ends("oauth") || ends("userpwd") || ends("userpass")
}

/// Whether a value with this name is a password, a token or a key.
pub(super) fn is_secret(name: &str) -> bool {
    const ENDS: [&str; 15] = [
        "password",
        "passwd",
        "passphrase",
        "pass",
        "pwd",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "accountkey",
        "secretkey",
        "privatekey",
        "signature",
        "credential",
        "credentials",
    ];
    let plain = name.chars().filter(|c| !matches!(c, '_' | '-' | '.'));
    let plain = plain.collect::<String>().to_ascii_lowercase();
    plain == "sig" || ENDS.iter().any(|end| plain.ends_with(end))
}

/// Whether a part of a line looks like a password by its characters alone. A word, a number or a version does not.
pub(super) fn looks_secret(text: &str) -> bool {
    let (mut chars, mut kinds) = (0, [false; 4]);
    for c in text.chars() {
        chars += 1;
        match c {
            '.' | '-' | '_' | '/' | ':' => {}
            c if c.is_ascii_digit() => kinds[0] = true,
            c if c.is_lowercase() => kinds[1] = true,
            c if c.is_uppercase() => kinds[2] = true,
            c => kinds[3] |= !c.is_alphanumeric(),
        }
    }
    let kinds = kinds.iter().filter(|has| **has).count();
    !is_number(text) && !is_version(text) && (chars > 16 || chars >= 8 && kinds >= 2 || chars >= 6 && kinds >= 3)
}

/// `1.25.3-alpine`, `v2.0`.
pub(super) fn is_version(text: &str) -> bool {
    let number = text.strip_prefix(['v', 'V']).unwrap_or(text);
    number.starts_with(|c: char| c.is_ascii_digit())
        && number.contains('.')
        && number.len() <= 24
        && number
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
}

/// Whether the text around a colon is a port, perhaps with a path; an address of IPv6 or Ethernet; a time.
pub(super) fn is_address(before: &str, after: &str) -> bool {
    let port = after.split('/').next().unwrap_or_default();
    let is_port = !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit() || b":.%/".contains(&b));
    let is_time = after.contains(':') && after.bytes().all(|b| b.is_ascii_digit() || b":.+-Z".contains(&b));
    is_port || is_time || before.len() <= 4 && is_hex(before) && after.contains(':') && is_hex(after)
}

/// A path from the root, as in `unix:/run/x.sock` or `C:\Users\x`.
pub(super) fn is_path(text: &str) -> bool {
    ['/', '\\'].iter().any(|separator| {
        text.strip_prefix(*separator)
            .is_some_and(|rest| rest.contains(*separator) || rest.is_empty())
    })
}
