//! Patterns, as operators and authors write them to say which names are meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Invalid, PathTemplate, Piece, Placeholder, checked_text, invalid};

/// A text in which `*` stands for any characters within a path segment and `**` for any characters across segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

checked_text!(Pattern);

/// Reads a list of them that may be left out. One that is there without an item must not allow everything.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Pattern>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

impl FromStr for Pattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "" => invalid("is an empty pattern, which matches nothing: write \"*\" or \"**\", or leave the field out"),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_bytes(text.as_bytes())
    }

    /// Whether the path matches whatever its placeholders are filled with: only a star can stand for one.
    pub fn matches_template(&self, path: &PathTemplate) -> bool {
        // No pattern has this byte, which is never in UTF-8.
        const UNKNOWN: u8 = 0xff;
        let mut text = Vec::with_capacity(path.as_path().as_str().len());
        for piece in path.pieces() {
            match piece {
                Piece::Text(written) => text.extend_from_slice(written.as_bytes()),
                Piece::Placeholder(Placeholder::Repository) => text.extend_from_slice(&[UNKNOWN, b'/', UNKNOWN]),
                Piece::Placeholder(_) => text.push(UNKNOWN),
            }
        }
        self.matches_bytes(&text)
    }

    fn matches_bytes(&self, text: &[u8]) -> bool {
        // Each star first takes as little as it can. Where the rest then fails, the last star takes one more; a single one
        // that stands before a slash cannot, and the last double one before it does. That finds a match where there is one,
        // since what an earlier star could still take, the last one of its kind has tried.
        let pattern = self.0.as_bytes();
        let (mut at, mut read) = (0, 0);
        let (mut within, mut across) = (None, None);
        loop {
            if pattern[at..].starts_with(b"**") {
                at += 2;
                (within, across) = (None, Some((at, read)));
            } else if pattern[at..].starts_with(b"*") {
                at += 1;
                within = Some((at, read));
            } else if read == text.len() {
                return at == pattern.len();
            } else if pattern.get(at) == Some(&text[read]) {
                at += 1;
                read += 1;
            } else if let Some((after, taken)) = within.filter(|(_, taken)| text[*taken] != b'/') {
                (at, read) = (after, taken + 1);
                within = Some((at, read));
            } else if let Some((after, taken)) = across {
                (at, read) = (after, taken + 1);
                (within, across) = (None, Some((at, read)));
            } else {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stays_in_its_segment_and_two_cross() {
        let matches = |pattern: &str, text: &str| pattern.parse::<Pattern>().unwrap().matches(text);
        for (pattern, text, expected) in [
            (
                "arc-runners/data/**",
                "arc-runners/data/kubeconfig/rancher-cluster",
                true,
            ),
            (
                "arc-runners/data/*",
                "arc-runners/data/kubeconfig/rancher-cluster",
                false,
            ),
            ("arc-runners/data/*", "arc-runners/data/kubeconfig", true),
            ("arc-runners/data/**", "arc-runners/data", false),
            ("arc-runners/data/**", "arc-runners/database/x", false),
            ("*", "a", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("arc-runner-set-gha-rs-*", "arc-runner-set-gha-rs-no-permission", true),
            ("arc-runner-set-gha-rs-*", "arc-runner-set-gha-rs-", true),
            ("arc-runner-set-gha-rs-*", "evil-arc-runner-set-gha-rs-x", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/b/c", false),
            ("a/**/c", "a/b/b/c", true),
            ("*a*b*", "xxaxxbxx", true),
            ("a.c", "abc", false),
            ("A", "a", false),
            ("a***", "a/b", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
        assert!("".parse::<Pattern>().is_err());
        // Patterns that make a matcher which tries everything run for ever.
        assert!(!matches(&"**a".repeat(50), &"a".repeat(49)));
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
    }

    #[test]
    fn a_placeholder_is_matched_by_stars_alone() {
        for (pattern, path, expected) in [
            ("ci/data/**", "ci/data/{repository}/x", true),
            ("ci/data/*/*/x", "ci/data/{repository}/x", true),
            ("ci/data/*/x", "ci/data/{repository}/x", false),
            ("ci/data/*/x", "ci/data/{job}/x", true),
            ("ci/data/main-*", "ci/data/main-{ref_name}", true),
            ("ci/data/main-*", "ci/data/{ref_name}", false),
            ("ci/data/{job}", "ci/data/{job}", false),
            ("ci/data/a", "ci/data/{job}", false),
            ("ci/data/a", "ci/data/a", true),
        ] {
            let pattern = pattern.parse::<Pattern>().unwrap();
            assert_eq!(
                pattern.matches_template(&path.parse().unwrap()),
                expected,
                "{pattern} on {path}"
            );
        }
    }

    /// The same by trying everything.
    fn matches_slowly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([b'*', b'*', rest @ ..], _) => (0..=text.len()).any(|taken| matches_slowly(rest, &text[taken..])),
            ([b'*', rest @ ..], _) => (0..=text.len())
                .take_while(|taken| !text[..*taken].contains(&b'/'))
                .any(|taken| matches_slowly(rest, &text[taken..])),
            ([a, rest @ ..], [b, more @ ..]) => a == b && matches_slowly(rest, more),
            _ => pattern.is_empty() && text.is_empty(),
        }
    }

    proptest::proptest! {
        #[test]
        fn no_match_is_missed_and_none_invented(pattern in "[a/*]{1,8}", text in "[a/]{0,8}") {
            let fast = Pattern(pattern.clone()).matches(&text);
            proptest::prop_assert_eq!(fast, matches_slowly(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
