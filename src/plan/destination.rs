//! Where a file goes, and who may read it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{FILES_DIR, FieldName, Invalid, SECRETS_DIR, SINGLE_DIR, STATUS, checked_text, invalid};
use crate::text::is_printable;

/// Where the containers see a file: that very path, or below [`SECRETS_DIR`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    /// Such as `/tmp/kubeconfig`: delivered as a single-file mount.
    Absolute(String),
    /// Such as `web.env`: seen at `/podkey/secrets/web.env`.
    Relative(String),
    /// Such as `web/{{ .SecretKey }}`: one file like that for each field of the secret.
    EachField(FieldName),
}

checked_text!(Destination);

impl Destination {
    /// The absolute path at which the containers see it.
    pub fn path(&self) -> Cow<'_, str> {
        match self {
            Self::Absolute(path) => Cow::Borrowed(path),
            Self::Relative(path) => Cow::Owned(format!("{SECRETS_DIR}/{path}")),
            Self::EachField(name) => Cow::Owned(format!("{SECRETS_DIR}/{name}")),
        }
    }

    /// Its place below the root of the volume `podkey-secrets`, as the `index`-th file of its plan.
    pub(crate) fn place(&self, index: usize) -> String {
        match self {
            Self::Absolute(_) => format!("{SINGLE_DIR}/{index}"),
            Self::Relative(path) => format!("{FILES_DIR}/{path}"),
            Self::EachField(name) => format!("{FILES_DIR}/{name}"),
        }
    }

    /// Whether it is in a place that podkey keeps for itself where files are kept fresh: its generations of files, the link to
    /// the one of now, and [`STATUS`].
    pub fn is_reserved(&self) -> bool {
        self.top().is_some_and(|top| top.starts_with("..") || top == STATUS)
    }

    /// Whether both are below [`SECRETS_DIR`] and have the first name there in common: a change of files replaces all that is
    /// below one.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.top().is_some_and(|top| Some(top) == other.top())
    }

    fn top(&self) -> Option<String> {
        let path = match self {
            Self::Absolute(_) => return None,
            Self::Relative(path) => Cow::Borrowed(path),
            Self::EachField(name) => Cow::Owned(name.to_string()),
        };
        path.split('/').next().map(str::to_owned)
    }

    /// Whether the two are one place, or one lies inside the other.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let (a, b) = (self.path(), other.path());
        contains(&a, &b) || contains(&b, &a)
    }
}

/// Whether the absolute path `inner` is `outer` or lies below it. Both without `.`, `..`, double or final slashes.
pub fn contains(outer: &str, inner: &str) -> bool {
    holds(outer, inner) || holds(real(outer), real(inner))
}

/// Likewise, of paths as they are written.
fn holds(outer: &str, inner: &str) -> bool {
    match inner.strip_prefix(outer) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || outer.ends_with('/'),
        None => false,
    }
}

/// A path as it is compared with others: images have `/var/run` as a symbolic link to `/run`.
pub fn real(path: &str) -> &str {
    match path.strip_prefix("/var") {
        Some(rest) if rest == "/run" || rest.starts_with("/run/") => rest,
        _ => path,
    }
}

impl FromStr for Destination {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("is empty");
        }
        if text.contains("{{") {
            return match text.starts_with('/') {
                true => invalid("has a placeholder, and a mount of its own must have its name when the pod is made"),
                false => text.parse().map(Self::EachField),
            };
        }
        if text.len() > 4000 {
            return invalid("is longer than 4000 bytes");
        }
        if let Some(c) = text.chars().find(|c| *c == ':' || !is_printable(*c)) {
            return invalid(format!("has the character {c:?}, which no mount may have"));
        }
        let (absolute, relative) = match text.strip_prefix('/') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if absolute && relative.is_empty() {
            return invalid("is the root directory");
        }
        for segment in relative.split('/') {
            match segment {
                "" => return invalid("has an empty segment: no slash at the end, or twice"),
                "." | ".." => return invalid("has a segment . or .."),
                _ if segment.len() > 255 => return invalid("has a segment of more than 255 bytes"),
                _ => {}
            }
        }
        if !absolute {
            return Ok(Self::Relative(text.to_owned()));
        }
        for place in FORBIDDEN_DESTINATIONS {
            if holds(place, text) {
                return invalid(format!("is in {place}, where no secret may be mounted"));
            }
            if holds(text, place) {
                return invalid(format!("is a directory that holds {place}, and cannot be a file"));
            }
        }
        Ok(Self::Absolute(text.to_owned()))
    }
}

/// Places that belong to the kernel, to podkey, to the container's own security, or that hold the programs it runs.
const FORBIDDEN_DESTINATIONS: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/podkey",
    "/var/run/secrets/kubernetes.io",
    "/run/secrets/kubernetes.io",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/local/lib",
    "/etc/bash.bashrc",
    "/etc/cron.d",
    "/etc/crontab",
    "/etc/environment",
    "/etc/group",
    "/etc/gshadow",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/nsswitch.conf",
    "/etc/pam.conf",
    "/etc/pam.d",
    "/etc/passwd",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/resolv.conf",
    "/etc/security",
    "/etc/shadow",
    "/etc/sudoers",
    "/etc/sudoers.d",
];

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(path) | Self::Relative(path) => f.write_str(path),
            Self::EachField(name) => name.fmt(f),
        }
    }
}

/// File permissions: `0400` to `0775`, never writable for all, no setuid, setgid or sticky bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

checked_text!(Mode);

impl Default for Mode {
    fn default() -> Self {
        Self::OWNER
    }
}

impl Mode {
    /// For the owner alone.
    pub const OWNER: Self = Self(0o400);
    /// For owner and group.
    pub const GROUP: Self = Self(0o440);
    /// For every user of the pod.
    pub const ALL: Self = Self(0o444);

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The permission bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        if !(3..=4).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return invalid("is no octal mode such as \"0400\"");
        }
        match u32::from_str_radix(digits, 8) {
            Err(_) => invalid("is no octal mode such as \"0400\""),
            Ok(bits) if bits & 0o7000 != 0 => invalid("has a setuid, setgid or sticky bit"),
            Ok(bits) if bits & 0o002 != 0 => invalid("lets every user write"),
            Ok(bits) => Ok(Self(bits)),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_give_nobody_more_than_they_should() {
        for (text, bits) in [
            ("0400", 0o400),
            ("440", 0o440),
            ("0o444", 0o444),
            ("0775", 0o775),
            ("0000", 0),
        ] {
            assert_eq!(text.parse::<Mode>().unwrap().bits(), bits, "{text}");
        }
        for bad in [
            "", "4", "r--", "0888", "04000", "4400", "2440", "1444", "0002", "0666", "0777", "+400", "-400",
        ] {
            assert!(bad.parse::<Mode>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn destinations_stay_where_they_belong() {
        for good in [
            "/tmp/kubeconfig",
            "web.env",
            "a/b/c",
            "..data",
            "/var/run/x",
            "/home/runner/.kube/config",
            "$HOME",
        ] {
            assert_eq!(good.parse::<Destination>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "/",
            "//",
            "/tmp/",
            "/tmp//x",
            "a//b",
            "../x",
            "a/../b",
            "./a",
            "/proc",
            "/proc/self",
            "/sys/x",
            "/dev/null",
            "/podkey",
            "/podkey/secrets/x",
            "/etc/passwd",
            "/etc/ld.so.preload",
            "/etc/profile.d/x.sh",
            "/usr/bin/sudo",
            "/bin/sh",
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "a:b",
            "a\0b",
            "a\nb",
            "/tmp/\u{7f}",
        ] {
            assert!(bad.parse::<Destination>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(256).parse::<Destination>().is_err());
        assert!(
            "/procfs".parse::<Destination>().is_ok(),
            "a name that only begins like a forbidden one"
        );
    }

    #[test]
    fn what_podkey_keeps_for_itself_is_at_the_top() {
        let reserved = |text: &str| text.parse::<Destination>().unwrap().is_reserved();
        for text in [
            "..data",
            "..x/y",
            "...",
            ".status.json",
            ".status.json/x",
            "..{{ .SecretKey }}",
        ] {
            assert!(reserved(text), "{text}");
        }
        for text in [
            "web/..data",
            "a/.status.json",
            ".status",
            ".data",
            "{{ .SecretKey }}",
            "/srv/..data",
        ] {
            assert!(!reserved(text), "{text}");
        }
    }

    #[test]
    fn destinations_conflict_where_one_is_inside_the_other() {
        let conflict = |a: &str, b: &str| a.parse::<Destination>().unwrap().conflicts_with(&b.parse().unwrap());
        assert!(conflict("a", "a"));
        assert!(conflict("a", "a/b"));
        assert!(conflict("/tmp/a/b", "/tmp/a"));
        assert!(!conflict("a", "ab"));
        assert!(!conflict("/tmp/a", "a"));
    }

    #[test]
    fn var_run_and_run_are_one_place() {
        for (outer, inner, holds) in [
            ("/run/x", "/var/run/x", true),
            ("/var/run/x", "/run/x/y", true),
            ("/var/run", "/run/x", true),
            ("/var", "/var/run/x", true),
            ("/var", "/run/x", false),
            ("/run/x", "/var/runs/x", false),
            ("/run/x", "/var/lib/run/x", false),
        ] {
            assert_eq!(contains(outer, inner), holds, "{outer} {inner}");
        }
    }
}
