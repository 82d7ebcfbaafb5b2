//! The destination of a file: where the containers see the file.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ENV_DIR, FILES_DIR, FieldName, Invalid, ROOT_DIR, SECRETS_DIR, SINGLE_DIR, STATUS, checked_text, invalid};
use crate::text::is_printable;

/// Where the containers see a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    /// An absolute path, such as `/tmp/kubeconfig`: the file is mounted on its own.
    Absolute(String),
    /// A path below [`SECRETS_DIR`]: `web.env` is seen at `/podkey/secrets/web.env`.
    Relative(String),
    /// A template such as `web/{{ .SecretKey }}`: one file below [`SECRETS_DIR`] for each field of the secret.
    EachField(FieldName),
}

checked_text!(Destination);

impl Destination {
    /// The absolute path at which the containers see the file.
    pub fn path(&self) -> Cow<'_, str> {
        match self.below_secrets() {
            Some(name) => Cow::Owned(format!("{SECRETS_DIR}/{name}")),
            None => self.as_written(),
        }
    }

    /// The path of the file below the root of the volume `podkey-secrets`, as the `index`-th file of its plan.
    pub(crate) fn place(&self, index: usize) -> String {
        match self.below_secrets() {
            Some(name) => format!("{FILES_DIR}/{name}"),
            None => format!("{SINGLE_DIR}/{index}"),
        }
    }

    /// Whether the first name is reserved for podkey if files are kept fresh: for the generations of the files, the symlink to the
    /// current generation, and [`STATUS`].
    pub(crate) fn is_reserved(&self) -> bool {
        self.first_name()
            .is_some_and(|name| name.starts_with("..") || name == STATUS)
    }

    /// Whether both files are below [`SECRETS_DIR`], with equal first names there. A change of files replaces everything below
    /// that name.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.first_name().is_some_and(|name| Some(name) == other.first_name())
    }

    /// Whether the file is in, or in place of, the directory of the values of variables, and so `is_beside` these values.
    pub(crate) fn is_beside_variables(&self) -> bool {
        self.first_name().is_some_and(|name| name == ENV_DIR)
    }

    /// The first name below [`SECRETS_DIR`].
    fn first_name(&self) -> Option<Cow<'_, str>> {
        match self.below_secrets()? {
            Cow::Borrowed(path) => path.split('/').next().map(Cow::Borrowed),
            Cow::Owned(path) => path.split('/').next().map(|name| Cow::Owned(name.to_owned())),
        }
    }

    /// Whether the two paths are equal, or one path is below the other.
    pub(crate) fn conflicts_with(&self, other: &Self) -> bool {
        // An absolute destination is never below or above `SECRETS_DIR`.
        let both = match (self.below_secrets(), other.below_secrets()) {
            (Some(a), Some(b)) => Some((a, b)),
            (None, None) => Some((self.as_written(), other.as_written())),
            _ => None,
        };
        both.is_some_and(|(a, b)| contains(&a, &b) || contains(&b, &a))
    }

    /// Whether the destination conflicts with the directory of the values of variables.
    pub(crate) fn conflicts_with_variables(&self) -> bool {
        self.below_secrets()
            .is_some_and(|name| contains(ENV_DIR, &name) || contains(&name, ENV_DIR))
    }

    /// The path below [`SECRETS_DIR`], with its placeholders.
    fn below_secrets(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Absolute(_) => None,
            Self::Relative(_) | Self::EachField(_) => Some(self.as_written()),
        }
    }

    fn as_written(&self) -> Cow<'_, str> {
        match self {
            Self::Absolute(path) | Self::Relative(path) => Cow::Borrowed(path),
            Self::EachField(name) => Cow::Owned(name.to_string()),
        }
    }
}

/// Whether the path `inner` is `outer` or lies below `outer`. Both paths are without `.`, `..`, double or final slashes.
pub fn contains(outer: &str, inner: &str) -> bool {
    is_at_or_below(outer, inner) || is_at_or_below(real(outer), real(inner))
}

/// Whether `inner` is `outer` or lies below `outer`, with both paths as written.
fn is_at_or_below(outer: &str, inner: &str) -> bool {
    match inner.strip_prefix(outer) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || outer.ends_with('/'),
        None => false,
    }
}

/// The path for comparisons: `/var/run` becomes `/run`, because in images `/var/run` is a symlink to `/run`.
pub(crate) fn real(path: &str) -> &str {
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
                true => {
                    invalid("has a placeholder, and a mount of its own needs a name that is known when the pod is made")
                }
                false => text.parse().map(Self::EachField),
            };
        }
        if text.len() > MAX_BYTES {
            return invalid(format!("is longer than {MAX_BYTES} bytes"));
        }
        if let Some(c) = text.chars().find(|c| *c == ':' || !is_printable(*c)) {
            return invalid(format!("has the character {c:?}, which no mount may have"));
        }
        let Some(below_root) = text.strip_prefix('/') else {
            check_segments(text)?;
            return Ok(Self::Relative(text.to_owned()));
        };
        if below_root.is_empty() {
            return invalid("is the root directory");
        }
        check_segments(below_root)?;
        for forbidden in FORBIDDEN {
            if is_at_or_below(forbidden, text) {
                return invalid(format!("is in {forbidden}, where no secret may be mounted"));
            }
            if is_at_or_below(text, forbidden) {
                return invalid(format!(
                    "is a directory, which contains {forbidden}, and cannot be a file"
                ));
            }
        }
        Ok(Self::Absolute(text.to_owned()))
    }
}

/// The longest destination, and the longest name of a file (`NAME_MAX`), in bytes.
const MAX_BYTES: usize = 4000;
const MAX_SEGMENT_BYTES: usize = 255;

fn check_segments(path: &str) -> Result<(), Invalid> {
    for segment in path.split('/') {
        match segment {
            "" => return invalid("has an empty segment: no slash at the end, and no two slashes together"),
            "." | ".." => return invalid("has a segment . or .."),
            _ if segment.len() > MAX_SEGMENT_BYTES => {
                return invalid(format!("has a segment of more than {MAX_SEGMENT_BYTES} bytes"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Paths of the kernel, of podkey, of the container's own security, and of the programs that the container runs.
const FORBIDDEN: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    ROOT_DIR,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_never_lead_to_forbidden_paths() {
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
    fn reserved_names_are_first_names_only() {
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
    fn destinations_conflict_if_one_is_inside_the_other() {
        let conflict = |a: &str, b: &str| a.parse::<Destination>().unwrap().conflicts_with(&b.parse().unwrap());
        assert!(conflict("a", "a"));
        assert!(conflict("a", "a/b"));
        assert!(conflict("/tmp/a/b", "/tmp/a"));
        assert!(!conflict("a", "ab"));
        assert!(!conflict("/tmp/a", "a"));
    }

    #[test]
    fn var_run_and_run_are_the_same_directory() {
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
