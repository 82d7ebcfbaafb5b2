//! Whether one text without line breaks is hidden: its length, the words that every log has, and the names in Kubernetes
//! objects.

use super::piece::Piece;

/// Shorter texts are not hidden.
const LEAST_CHARS: usize = 4;
/// Shorter texts of punctuation alone are not hidden.
const LEAST_PUNCTUATION: usize = 8;
/// Smaller numbers inside a structured value are not hidden.
const LEAST_DIGITS: usize = 6;

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

/// Where a text comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The text is the secret.
    Whole,
    /// A line of a text.
    Line,
    /// A value inside a structured text, a password inside a line, or the text that either was base64 of.
    Value,
    /// A user's name and a password, with a colon between them, or the base64 of both.
    Login,
}

/// What becomes of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Hide,
    TooShort,
    Common,
    /// Punctuation, or what frames a secret.
    Structure,
}

/// The fields whose values are no secret in this text.
pub(super) fn names_of_object(pieces: &[Piece<'_>]) -> &'static [&'static str] {
    let field = |name| pieces.iter().find(|piece| piece.is_field(name));
    match (field("apiVersion"), field("kind")) {
        (Some(_), Some(kind)) if kind.text == "Config" => &NAMES_OF_KUBECONFIG,
        (Some(_), Some(_)) => &NAMES_OF_OBJECTS,
        _ => &[],
    }
}

/// The rule for one text without line breaks and without white space around it.
pub(super) fn verdict(text: &str, origin: Origin) -> Verdict {
    if text.is_empty() {
        return Verdict::Structure;
    }
    let chars = text.chars().take(LEAST_PUNCTUATION).count();
    if !text.chars().any(char::is_alphanumeric) && chars < LEAST_PUNCTUATION {
        return match origin {
            Origin::Line => Verdict::Structure,
            Origin::Whole | Origin::Value | Origin::Login => Verdict::TooShort,
        };
    }
    if origin == Origin::Line && frames_pem(text) {
        return Verdict::Structure;
    }
    if chars < LEAST_CHARS {
        return Verdict::TooShort;
    }
    if is_common(text) {
        return Verdict::Common;
    }
    if matches!(origin, Origin::Value | Origin::Login)
        && is_number(text)
        && text.bytes().filter(u8::is_ascii_digit).count() < LEAST_DIGITS
    {
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

/// Digits and what numbers have between them.
pub(super) fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b"+-.,_eE".contains(&b)) && text.bytes().any(|b| b.is_ascii_digit())
}

/// A word that every log is full of.
pub(super) fn is_common(text: &str) -> bool {
    COMMON.iter().any(|word| word.eq_ignore_ascii_case(text))
}
