//! Where a file goes: a path, or a template that makes the path of a file for each field of a secret.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::{Function, NamePiece, NameTemplate, applied};
use super::{
    ENV_DIR, FILES_DIR, Invalid, LINKED_DIR, LINKS_ROOT, MOUNTS_DIR, PRINTED_DIR, ROOT_DIR, SECRETS_DIR, SINGLE_DIR,
    STATUS, checked_text, invalid,
};
use crate::text::{is_printable, quoted};

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
    /// A file in a directory that is mounted at a path of its own, as vault-k8s mounts `/vault/secrets`. Written as
    /// `/vault/secrets:db-creds`: no other destination has a colon. Only `in_directory` makes them, from valid parts.
    InDirectory {
        /// The absolute path of the directory.
        directory: String,
        /// The path of the file below the directory.
        name: String,
    },
}

/// A template for the names of files that each hold one field: at least one `{{ .SecretKey }}`, which stands for the name of the
/// field, and no other placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldName(NameTemplate);

checked_text!(Destination);

impl Destination {
    /// The file with the path `name` below the directory, which is mounted at the absolute path `directory`.
    pub(crate) fn in_directory(directory: &str, name: &str) -> Result<Self, Invalid> {
        let Self::Absolute(_) = directory.parse()? else {
            return invalid("is not in a directory with an absolute path");
        };
        if place_of_directory(directory).len() > MOUNTS_DIR.len() + 1 + MAX_SEGMENT_BYTES {
            return invalid(format!(
                "is too long: with %2F in place of each slash, the path of the directory may have {MAX_SEGMENT_BYTES} bytes"
            ));
        }
        if name.starts_with('/') {
            return invalid("has an absolute path in place of a path below the directory");
        }
        match name.parse()? {
            Self::Relative(name) => Ok(Self::InDirectory {
                directory: directory.to_owned(),
                name,
            }),
            _ => invalid("has a placeholder, and a directory of its own takes plain names only"),
        }
    }

    /// What is wrong with a written form of [`Self::InDirectory`] where an author writes a plain path.
    pub(crate) fn has_colon() -> Invalid {
        forbidden_character(':')
    }

    /// The directory of the file, if the directory has a mount of its own.
    pub(crate) fn directory(&self) -> Option<&str> {
        match self {
            Self::InDirectory { directory, .. } => Some(directory),
            Self::Absolute(_) | Self::Relative(_) | Self::EachField(_) => None,
        }
    }

    /// The absolute path at which the containers see the file.
    pub fn path(&self) -> Cow<'_, str> {
        match self {
            Self::Absolute(path) => Cow::Borrowed(path),
            Self::Relative(name) => Cow::Owned(format!("{SECRETS_DIR}/{name}")),
            Self::EachField(name) => Cow::Owned(format!("{SECRETS_DIR}/{name}")),
            Self::InDirectory { directory, name } => Cow::Owned(format!("{directory}/{name}")),
        }
    }

    /// The path of the file below the root of the volume `podkey-secrets`, as the `index`-th file of its plan.
    pub(crate) fn place(&self, index: usize) -> String {
        match self {
            Self::Absolute(_) => format!("{SINGLE_DIR}/{index}"),
            Self::Relative(name) => format!("{FILES_DIR}/{name}"),
            Self::EachField(name) => format!("{FILES_DIR}/{name}"),
            Self::InDirectory { directory, name } => format!("{}/{name}", place_of_directory(directory)),
        }
    }

    /// Whether the destination may be a symlink that the job hooks make.
    pub(crate) fn may_be_linked(&self) -> bool {
        let below = |path: &str| path.strip_prefix(LINKS_ROOT).is_some_and(|rest| rest.starts_with('/'));
        matches!(self, Self::Absolute(path) if below(path))
    }

    /// Whether the first name is reserved for podkey if files are kept fresh: for the generations of the files, the symlink to the
    /// current generation, and [`STATUS`].
    pub(crate) fn is_reserved(&self) -> bool {
        self.first_name()
            .is_some_and(|(_, name)| name.starts_with("..") || name == STATUS)
    }

    /// Whether both files are in the same mounted directory, with equal first names there. A change of files replaces everything
    /// below that name.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.first_name().is_some_and(|name| Some(name) == other.first_name())
    }

    /// Whether the file is in, or in place of, the directory of the values of variables, and so `is_beside` these values.
    pub(crate) fn is_beside_variables(&self) -> bool {
        self.first_name()
            .is_some_and(|(directory, name)| directory == SECRETS_DIR && name == ENV_DIR)
    }

    /// The mounted directory, and the first name below the directory.
    fn first_name(&self) -> Option<(&str, Cow<'_, str>)> {
        let (directory, path) = match self {
            Self::InDirectory { directory, name } => (directory.as_str(), Cow::Borrowed(name.as_str())),
            _ => (SECRETS_DIR, self.below_secrets()?),
        };
        let first = match path {
            Cow::Borrowed(path) => path.split('/').next().map(Cow::Borrowed),
            Cow::Owned(path) => path.split('/').next().map(|name| Cow::Owned(name.to_owned())),
        };
        Some((directory, first?))
    }

    /// Whether the two paths are equal, or one path is below the other. A mounted directory counts as a path, because nothing else
    /// can be mounted in it.
    pub(crate) fn conflicts_with(&self, other: &Self) -> bool {
        let (a, b) = match (self, other) {
            (
                Self::InDirectory { directory, name },
                Self::InDirectory {
                    directory: other,
                    name: other_name,
                },
            ) if directory == other => (Cow::Borrowed(name.as_str()), Cow::Borrowed(other_name.as_str())),
            _ => match (self.below_secrets(), other.below_secrets()) {
                (Some(a), Some(b)) => (a, b),
                (None, None) => (self.mounted_path(), other.mounted_path()),
                // Nothing is mounted below or above `SECRETS_DIR`.
                _ => return false,
            },
        };
        contains(&a, &b) || contains(&b, &a)
    }

    /// The path of the mount: of the directory, or of the file.
    fn mounted_path(&self) -> Cow<'_, str> {
        match self.directory() {
            Some(directory) => Cow::Borrowed(directory),
            None => self.path(),
        }
    }

    /// Whether the destination conflicts with the directory of the values of variables.
    pub(crate) fn conflicts_with_variables(&self) -> bool {
        self.below_secrets()
            .is_some_and(|name| contains(ENV_DIR, &name) || contains(&name, ENV_DIR))
    }

    /// The path below [`SECRETS_DIR`], with its placeholders.
    fn below_secrets(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Absolute(_) | Self::InDirectory { .. } => None,
            Self::Relative(name) => Some(Cow::Borrowed(name)),
            Self::EachField(name) => Some(Cow::Owned(name.to_string())),
        }
    }
}

fn forbidden_character(c: char) -> Invalid {
    Invalid(format!("has the character {c:?}, which no mount may have").into())
}

/// The path of a mounted directory below the root of the volume `podkey-secrets`: one segment, because the directories of two mounts
/// must not be inside each other.
pub(crate) fn place_of_directory(directory: &str) -> String {
    let segment = directory.replace('%', "%25").replace('/', "%2F");
    format!("{MOUNTS_DIR}/{segment}")
}

/// The mounted directory with this path below the root of the volume: the reverse of [`place_of_directory`].
pub(crate) fn directory_of_place(place: &str) -> Option<String> {
    let segment = place.strip_prefix(MOUNTS_DIR)?.strip_prefix('/')?;
    let directory = segment.replace("%2F", "/").replace("%25", "%");
    (directory.starts_with('/') && place_of_directory(&directory) == place).then_some(directory)
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

impl FieldName {
    /// The placeholder that stands for the name of the field.
    pub(crate) const PLACEHOLDER: &str = "SecretKey";

    /// The directory of all these files, below [`super::SECRETS_DIR`]. "" is [`super::SECRETS_DIR`] itself.
    pub(crate) fn directory(&self) -> &str {
        match self.0.pieces().first() {
            Some(NamePiece::Text(text)) => text.rsplit_once('/').map_or("", |(directory, _)| directory),
            _ => "",
        }
    }

    /// Whether a field could have this path: the path begins and ends as the template does.
    pub(crate) fn may_make(&self, path: &str) -> bool {
        let text = |piece: Option<&'_ NamePiece>| match piece {
            Some(NamePiece::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let (beginning, end) = (text(self.0.pieces().first()), text(self.0.pieces().last()));
        let middle = path.strip_prefix(&beginning).and_then(|rest| rest.strip_suffix(&end));
        middle.is_some_and(|middle| !middle.contains('/'))
    }

    /// The destination of the file for this field: always below [`super::SECRETS_DIR`], in the directory of the template. Errors:
    /// the field's name cannot be part of a file name. (A slash in the name would choose another directory.)
    pub(crate) fn of(&self, field: &str) -> Result<Destination, Invalid> {
        let name = self.filled(|functions| match applied(field, functions)? {
            part if part.contains('/') => invalid("has a slash, and cannot be part of a file name"),
            part => Ok(part),
        })?;
        match name.parse()? {
            file @ Destination::Relative(_) if file.is_reserved() => {
                invalid("makes a name that podkey keeps for itself")
            }
            file @ Destination::Relative(_) => Ok(file),
            _ => invalid("does not make a plain file name"),
        }
    }

    fn filled(&self, part: impl Fn(&[Function]) -> Result<String, Invalid>) -> Result<String, Invalid> {
        let mut name = String::new();
        for piece in self.0.pieces() {
            match piece {
                NamePiece::Text(text) => name.push_str(text),
                NamePiece::Placeholder { functions, .. } => name.push_str(&part(functions)?),
            }
        }
        Ok(name)
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
        if let Some((directory, name)) = text.split_once(':')
            && directory.starts_with('/')
        {
            return Self::in_directory(directory, name);
        }
        if let Some(c) = text.chars().find(|c| *c == ':' || !is_printable(*c)) {
            return Err(forbidden_character(c));
        }
        let Some(below_root) = text.strip_prefix('/') else {
            check_segments(text)?;
            if let Some(taken @ (PRINTED_DIR | LINKED_DIR)) = text.split('/').next() {
                return invalid(format!("begins with {taken}, a name that podkey keeps for itself"));
            }
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

impl FromStr for FieldName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let template: NameTemplate = text.parse()?;
        let mut found = false;
        for piece in template.pieces() {
            match piece {
                NamePiece::Text(text) if found && text.contains('/') => {
                    return invalid(
                        "has {{ .SecretKey }} in a directory's name: only the name of the file may have {{ .SecretKey }}",
                    );
                }
                NamePiece::Placeholder { name, .. } if name != Self::PLACEHOLDER => {
                    return invalid(format!("has the placeholder {}, which is not .SecretKey", quoted(name)));
                }
                NamePiece::Placeholder { .. } => found = true,
                NamePiece::Text(_) => {}
            }
        }
        if !found {
            return invalid("has no {{ .SecretKey }}");
        }
        // The text around the field's name must make a valid name with any field.
        let template = Self(template);
        template.filled(|_| Ok("x".to_owned()))?.parse::<Destination>()?;
        Ok(template)
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
            Self::InDirectory { directory, name } => write!(f, "{directory}:{name}"),
        }
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn a_directory_of_its_own_is_a_destination_with_a_colon() {
        for (text, path, place) in [
            (
                "/vault/secrets:db-creds",
                "/vault/secrets/db-creds",
                "mounts/%2Fvault%2Fsecrets/db-creds",
            ),
            ("/a%2Fb/c:d/e", "/a%2Fb/c/d/e", "mounts/%2Fa%252Fb%2Fc/d/e"),
        ] {
            let file: Destination = text.parse().unwrap();
            assert_eq!(file.to_string(), text);
            assert_eq!(file.path(), path);
            assert_eq!(file.place(3), place);
            let directory = file.directory().unwrap();
            assert_eq!(
                directory_of_place(&place_of_directory(directory)).as_deref(),
                Some(directory)
            );
        }
        for (bad, why) in [
            ("/:x", "root directory"),
            ("/etc:passwd", "contains /etc/"),
            ("/usr/bin:sudo", "is in /usr/bin"),
            ("/podkey/secrets:x", "is in /podkey"),
            ("/vault/secrets:", "is empty"),
            ("/vault/secrets:../x", ". or .."),
            ("/vault/../etc:x", ". or .."),
            ("/vault/secrets:/x", "absolute path"),
            ("/a:/b:/c", "absolute path"),
            ("/vault/secrets:a:b", "':'"),
            ("/vault/secrets/:a", "empty segment"),
            ("vault/secrets:a", "':'"),
            (":a", "':'"),
            ("/vault/secrets:{{ .SecretKey }}", "mount of its own"),
        ] {
            let error = bad.parse::<Destination>().expect_err(bad).to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
        // Each slash is three bytes of a name, which may have 255.
        let deep = |levels: usize| format!("{}:x", "/a".repeat(levels)).parse::<Destination>();
        assert!(deep(63).is_ok());
        assert!(deep(64).unwrap_err().to_string().contains("is too long"));
    }

    #[test]
    fn a_directory_of_its_own_conflicts_with_all_that_would_be_mounted_in_it() {
        let conflict = |a: &str, b: &str| {
            let (a, b): (Destination, Destination) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(a.conflicts_with(&b), b.conflicts_with(&a));
            a.conflicts_with(&b)
        };
        assert!(conflict("/vault/secrets:a", "/vault/secrets:a"));
        assert!(conflict("/vault/secrets:a", "/vault/secrets:a/b"));
        assert!(!conflict("/vault/secrets:a", "/vault/secrets:b"));
        assert!(!conflict("/vault/secrets:a", "a"));
        assert!(!conflict("/vault/secrets:a", "/srv:a"));
        for other in ["/vault:a", "/vault/secrets/deep:b", "/vault/secrets/b", "/vault"] {
            assert!(conflict("/vault/secrets:a", other), "{other}");
        }
        assert!(
            conflict("/var/run/s:a", "/run/s:b"),
            "the same directory by another path"
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
            "/vault/secrets:..data/x",
            "/vault/secrets:.status.json",
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
            "/vault/..data:x",
            "/vault/secrets:web/..data",
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

    fn name(text: &str, field: &str) -> Result<String, Invalid> {
        match text.parse::<Destination>()? {
            Destination::EachField(name) => name.of(field).map(|file| file.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_matches_a_template_by_its_beginning_and_its_end() {
        for (template, place, may) in [
            ("web/A_{{ .SecretKey | uppercase }}.txt", "web/A_FOO.txt", true),
            ("web/A_{{ .SecretKey | uppercase }}.txt", "web/A_.txt", true),
            ("web/A_{{ .SecretKey }}.txt", "web/B_FOO.txt", false),
            ("web/A_{{ .SecretKey }}.txt", "web/A_FOO", false),
            ("web/{{ .SecretKey }}", "web/a/b", false),
            ("a{{ .SecretKey }}a", "a", false),
            ("{{ .SecretKey }}", "foo", true),
        ] {
            let Ok(Destination::EachField(name)) = template.parse() else {
                panic!("{template}");
            };
            assert_eq!(name.may_make(place), may, "{template} {place}");
        }
    }

    #[test]
    fn the_file_of_a_field_stays_in_the_directory_of_the_template() {
        let text = "web/VAULT_{{ .SecretKey | uppercase }}.txt";
        assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        assert_eq!(name(text, "foo").unwrap(), "web/VAULT_FOO.txt");
        assert_eq!(name("{{.SecretKey}}", "Foo").unwrap(), "Foo");
        assert_eq!(name("{{ .SecretKey | lowercase}}", "Foo").unwrap(), "foo");
        let replaced = "{{ .SecretKey|replace \"/\" \"-\" | replace `.` \"\"}}";
        assert_eq!(name(replaced, "a/b.c").unwrap(), "a-bc");
        for field in [
            "",
            ".",
            "..",
            "a/b",
            "/etc/passwd",
            "a\0b",
            "a:b",
            "{{ .SecretKey }}",
            "..data",
            "..",
            ".status.json",
        ] {
            assert!(name("{{ .SecretKey }}", field).is_err(), "{field:?}");
        }
        // podkey keeps names only in the first directory.
        assert_eq!(
            name("web/{{ .SecretKey }}", ".status.json").unwrap(),
            "web/.status.json"
        );
    }

    #[test]
    fn a_template_with_anything_but_the_field_s_name_is_refused() {
        for (bad, why) in [
            ("/tmp/{{ .SecretKey }}", "a mount of its own"),
            ("{{ .SecretKey", "without its }}"),
            ("{{ .SecretKey }", "without its }}"),
            ("{{ .SecretKey | replace \"a }}", "without its }}"),
            ("{{ .Password }}", "\"Password\", which is not .SecretKey"),
            ("{{ .SecretKey | sh }}", "has a function that is none of"),
            ("{{ .SecretKey | }}", "has a function that is none of"),
            (
                "{{ .SecretKey | replace \"\" \"x\" }}",
                "has a function that is none of",
            ),
            ("{{ .SecretKey | replace \"a\" }}", "has a function that is none of"),
            ("{{ .SecretKey | replace a b }}", "has a function that is none of"),
            (
                "{{ .SecretKey | replace \"a\" \"{{ .SecretKey }}\" }}",
                "has a function that is none of",
            ),
            ("{{ .SecretKey uppercase }}", "is not a placeholder"),
            ("{{ SecretKey }}", "is not a placeholder"),
            ("{{ . }}", "is not a placeholder"),
            ("{{}}", "is not a placeholder"),
            ("{{ .SecretKey }}/x", "in a directory's name"),
            ("{{ .SecretKey }}x/y", "in a directory's name"),
            ("../{{ .SecretKey }}", "has a segment . or .."),
            ("a//{{ .SecretKey }}", "has an empty segment"),
            ("a:{{ .SecretKey }}", "has the character ':'"),
            ("{{ .SecretKey }}\n", "has the character '\\n'"),
        ] {
            let error = bad.parse::<Destination>().expect_err(bad).to_string();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
        let many = format!("{{{{ .SecretKey {} }}}}", "| uppercase ".repeat(9));
        assert!(many.parse::<FieldName>().is_err());
    }

    #[test]
    fn the_directories_of_printed_values_and_of_linked_files_are_podkeys_own() {
        for taken in [".printed", ".linked/0", ".printed/0", ".printed/{{ .SecretKey }}"] {
            let error = taken.parse::<Destination>().unwrap_err().to_string();
            assert!(error.contains("keeps for itself"), "{taken}: {error}");
        }
        for free in [".printed-too", "a/.printed", "/srv/.printed/0"] {
            assert!(free.parse::<Destination>().is_ok(), "{free}");
        }
    }

    #[test]
    fn a_name_does_not_grow_without_end() {
        let grow = format!("| replace \"a\" \"{}\" ", "a".repeat(64)).repeat(8);
        let text = format!("{{{{ .SecretKey {grow}}}}}");
        assert!(text.parse::<FieldName>().unwrap().of("a").is_err());
    }

    proptest! {
        #[test]
        fn every_field_has_its_file_in_the_directory_of_the_template(
            text in "([a-z.]{1,3}/)?[a-z._-]{0,3}\\{\\{ ?\\.SecretKey( ?\\| (uppercase|lowercase|replace \"[a-z/.]\" \"[A-Z/.]?\")){0,2} ?\\}\\}[a-z.]{0,3}",
            field in prop_oneof!["[a-zA-Z./_-]{0,6}", ".{0,6}"],
        ) {
            let Ok(Destination::EachField(name)) = text.parse::<Destination>() else { return Ok(()) };
            prop_assert_eq!(&name.to_string().parse::<FieldName>().unwrap(), &name);
            if let Ok(file) = name.of(&field) {
                let Destination::Relative(path) = &file else { panic!("{file:?}") };
                let directory = |path: &str| path.rsplit_once('/').map(|(directory, _)| directory.to_owned());
                let sample = name.filled(|_| Ok("x".to_owned())).unwrap();
                prop_assert_eq!(directory(path), directory(&sample));
                prop_assert!(path.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
                prop_assert!(!file.is_reserved());
            }
        }

        #[test]
        fn no_template_panics(text in ".{0,20}(\\{\\{.{0,20}){0,3}(\\}\\})?.{0,5}", field in ".{0,5}") {
            if let Ok(name) = text.parse::<FieldName>() {
                let _ = name.of(&field);
                prop_assert_eq!(name.to_string().parse::<FieldName>().unwrap(), name);
            }
        }
    }
}
