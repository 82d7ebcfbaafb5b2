//! The rule for one text without line breaks: its length, words that are common in logs, and the names in Kubernetes objects.

use super::part::SecretPart;

/// The shortest text that is hidden.
const MIN_CHARS: usize = 4;
/// The shortest text without a letter or digit that is hidden.
const MIN_PUNCTUATION_CHARS: usize = 8;
/// The fewest digits of a number inside a structured value that is hidden.
const MIN_DIGITS: usize = 6;

/// Words that are common in logs, in small letters: they are never hidden.
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

/// Where a text is from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TextOrigin {
    /// The text is the whole secret.
    Whole,
    /// A line of a text.
    Line,
    /// A value inside a structured text, a password inside a line, or the decoded base64 of either.
    Value,
    /// A user's name and a password, with a colon between them, or the base64 of both.
    Login,
}

/// Whether a text is hidden, or why not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Masking {
    Hide,
    TooShort,
    Common,
    /// Punctuation, or the first or last line of a PEM block: nothing to report.
    Structure,
}

/// The fields of this text whose values are no secrets.
pub(super) fn names_of_object(parts: &[SecretPart<'_>]) -> &'static [&'static str] {
    let field = |name| parts.iter().find(|part| part.is_field(name));
    match (field("apiVersion"), field("kind")) {
        (Some(_), Some(kind)) if kind.text == "Config" => &NAMES_OF_KUBECONFIG,
        (Some(_), Some(_)) => &NAMES_OF_OBJECTS,
        _ => &[],
    }
}

/// The rule for a text without line breaks and without white space around it.
pub(super) fn masking_of(text: &str, origin: TextOrigin) -> Masking {
    if text.is_empty() {
        return Masking::Structure;
    }
    let chars = text.chars().take(MIN_PUNCTUATION_CHARS).count();
    if !text.chars().any(char::is_alphanumeric) && chars < MIN_PUNCTUATION_CHARS {
        return match origin {
            TextOrigin::Line => Masking::Structure,
            TextOrigin::Whole | TextOrigin::Value | TextOrigin::Login => Masking::TooShort,
        };
    }
    if origin == TextOrigin::Line && frames_pem(text) {
        return Masking::Structure;
    }
    if chars < MIN_CHARS {
        return Masking::TooShort;
    }
    if is_common(text) {
        return Masking::Common;
    }
    if matches!(origin, TextOrigin::Value | TextOrigin::Login)
        && is_number(text)
        && text.bytes().filter(u8::is_ascii_digit).count() < MIN_DIGITS
    {
        return Masking::TooShort;
    }
    Masking::Hide
}

/// Whether a line is the first or last line of a PEM block, without any of the content.
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

/// Whether a text has digits and only characters of numbers.
pub(super) fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b"+-.,_eE".contains(&b)) && text.bytes().any(|b| b.is_ascii_digit())
}

/// Whether a text is a word that is common in logs.
pub(super) fn is_common(text: &str) -> bool {
    COMMON.iter().any(|word| word.eq_ignore_ascii_case(text))
}
