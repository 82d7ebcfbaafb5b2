//! Looks through what the programs say for text that is meant for developers: Rust's `Debug` forms and names of a library's
//! error variants. Every message that a test sees passes through here.

use serde_json::Value;

/// What no message has, whatever it is about.
const SHAPES: [&str; 12] = [
    "Some(",
    "None)",
    "Ok(",
    "Err(",
    "{ kind: ",
    "Os { code",
    "Custom {",
    "BadEncoding",
    "UnknownIssuer",
    "EndEntity",
    "AlertReceived",
    "InvalidCertificate",
];

/// Insists that every line is for people. Lines of JSON are looked at as they read once they are decoded.
#[track_caller]
pub fn assert_for_people(place: &str, text: &str) {
    for line in text.lines() {
        let found = match serde_json::from_str::<Value>(line) {
            Ok(value) => in_value(&value),
            Err(_) => developers_text(line),
        };
        assert!(
            found.is_none(),
            "{place} has {found:?}, which is for developers: {line}"
        );
    }
}

fn in_value(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => developers_text(text),
        Value::Array(values) => values.iter().find_map(in_value),
        Value::Object(members) => members.values().find_map(in_value),
        _ => None,
    }
}

/// The first such text: one of the shapes, or a name in capitals and small letters with `(` or ` {` right behind it.
fn developers_text(text: &str) -> Option<String> {
    if let Some(shape) = SHAPES.iter().find(|shape| text.contains(*shape)) {
        return Some((*shape).to_owned());
    }
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let begins = bytes[at].is_ascii_uppercase() && (at == 0 || !is_word(bytes[at - 1]));
        let end = bytes[at..]
            .iter()
            .position(|byte| !is_word(*byte))
            .map_or(bytes.len(), |length| at + length);
        let name = &text.as_bytes()[at..end];
        let is_type = begins && name.len() > 2 && name.iter().any(u8::is_ascii_lowercase);
        let rest = &bytes[end..];
        if is_type && (rest.starts_with(b"(") || rest.starts_with(b" { ")) {
            return Some(String::from_utf8_lossy(&bytes[at..(end + 12).min(bytes.len())]).into_owned());
        }
        at = end.max(at + 1);
    }
    None
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[test]
fn debug_text_is_known_and_other_text_is_left_alone() {
    for bad in [
        "the TLS handshake failed: InvalidCertificate(Other(OtherError(CaUsedAsEndEntity)))",
        "Error { kind: NotFound }",
        "for [DnsName(\"a\")]",
        "cannot read: Os { code: 2 }",
        "Ok(Lease)",
        r#"{"message":"x","list":["a",{"b":"Some(1)"}]}"#,
    ] {
        let seen = std::panic::catch_unwind(|| assert_for_people("x", bad));
        assert!(seen.is_err(), "{bad}");
    }
    for good in [
        "no secret at KV (v2) Some thing, OK (fine) {\"a\": 1}",
        "the field \"a(b)\" and GITHUB_ENV( and A( {",
        r#"{"message":"put `{ DB: x }` there, in bytes (MiB)"}"#,
    ] {
        assert_for_people("x", good);
    }
}
