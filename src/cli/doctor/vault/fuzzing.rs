//! The door of the fuzz target `policy`: the text of a policy, as the server returns it to the doctor.

use super::hcl::rules;

/// A policy in HCL or JSON. Law: each rule has a path as the server compares paths, without a template.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for rule in rules(text).into_iter().flatten() {
        assert!(!rule.path.contains("{{"), "{rule:?}");
    }
}
