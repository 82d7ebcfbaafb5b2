//! Holds the picture in `src/lib.rs`: which part may use which, and that the lower half is pure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Each part with the parts it may use. Nothing points upward; `webhook` and `agent` never see each other.
const MAY_USE: [(&str, &[&str]); 16] = [
    ("webhook", &["cluster", "inject", "plan", "telemetry"]),
    ("cluster", &["telemetry"]),
    ("cli", &["inject", "env", "plan", "text"]),
    (
        "agent",
        &[
            "vault",
            "http",
            "schedule",
            "render",
            "job",
            "env",
            "secret",
            "plan",
            "telemetry",
        ],
    ),
    ("vault", &["http", "schedule", "secret", "plan"]),
    ("http", &["secret", "telemetry", "text"]),
    ("inject", &["env", "plan", "text"]),
    ("env", &["secret", "plan", "json", "text"]),
    ("render", &["secret", "plan", "json", "text"]),
    ("job", &["secret", "plan", "json", "text"]),
    ("schedule", &[]),
    ("secret", &[]),
    ("plan", &["text"]),
    ("json", &[]),
    ("text", &[]),
    ("telemetry", &[]),
];

/// The lower half: no async, no clock, no disk, no environment, no network.
const PURE: [&str; 10] = [
    "cli", "inject", "env", "render", "job", "schedule", "plan", "secret", "json", "text",
];
const IMPURE: [&str; 16] = [
    "async ",
    ".await",
    "tokio",
    "hyper",
    "axum",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "tracing::",
    "fastrand::",
    "Rng::new",
    "std::io",
];

#[test]
fn the_arrows_point_downward() {
    for (part, files) in parts() {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == part) else {
            panic!("src/{part} is not in the picture of src/lib.rs");
        };
        for (path, code) in files {
            for used in used_parts(&code) {
                let own = used == part || used == "VERSION";
                assert!(
                    own || allowed.contains(&used.as_str()),
                    "{}: {part} may not use {used}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn the_lower_half_is_pure() {
    for (part, files) in parts() {
        if !PURE.contains(&part.as_str()) {
            continue;
        }
        for (path, code) in files {
            // Randomness from a seed that is given is none.
            let code = code.replace("use fastrand::Rng;", "");
            for word in IMPURE {
                assert!(
                    !code.contains(word),
                    "{}: {part} is pure, but has {word:?}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_file_says_why_it_exists() {
    for path in rust_files(Path::new("src"))
        .into_iter()
        .chain(rust_files(Path::new("tests")))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin with //!", path.display());
    }
}

#[test]
fn the_check_itself_sees_what_it_should() {
    assert_eq!(
        used_parts("use crate::vault::x; crate::plan::Y; crate::{secret, render::z}"),
        ["vault", "plan", "secret", "render"]
    );
    assert_eq!(
        without_comments_and_tests("a // crate::x\nb\n#[cfg(test)]\nmod tests { crate::y }"),
        "a \nb\n"
    );
}

/// The parts of `src/` and the code of their files.
fn parts() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let mut parts: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for path in rust_files(Path::new("src")) {
        let inside = path.strip_prefix("src").unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let part = first.trim_end_matches(".rs").to_owned();
        // The programs put everything together.
        if !["lib", "main", "bin"].contains(&part.as_str()) {
            let code = without_comments_and_tests(&std::fs::read_to_string(&path).unwrap());
            parts.entry(part).or_default().push((path, code));
        }
    }
    assert_eq!(parts.len(), MAY_USE.len(), "{:?}", parts.keys());
    parts
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Comments may speak of anything, and unit tests, which stand last in a file, may use anything.
fn without_comments_and_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines()
        .map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n")
        .collect()
}

/// The names that follow `crate::`, also in braces.
fn used_parts(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let name = |text: &str| {
            text.trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        };
        match rest.strip_prefix('{') {
            None => used.push(name(rest)),
            Some(group) => used.extend(group.split('}').next().unwrap_or_default().split(',').map(name)),
        }
    }
    used
}
