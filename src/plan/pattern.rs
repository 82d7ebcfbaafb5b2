//! Patterns by which operators and authors choose names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Invalid, PathPiece, PathTemplate, Placeholder, checked_text, invalid};

/// A text in which `*` stands for any characters within a path segment and `**` for any characters across segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

checked_text!(Pattern);

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
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.matches_bytes(text.as_bytes())
    }

    /// Whether the path matches for every value of its placeholders: only a star matches a placeholder.
    pub(crate) fn matches_template(&self, path: &PathTemplate) -> bool {
        // A byte that no pattern has, because it never occurs in UTF-8.
        const UNKNOWN: u8 = 0xff;
        let mut text = Vec::with_capacity(path.as_path().as_str().len());
        for piece in path.pieces() {
            match piece {
                PathPiece::Text(written) => text.extend_from_slice(written.as_bytes()),
                PathPiece::Placeholder(Placeholder::Repository) => text.extend_from_slice(&[UNKNOWN, b'/', UNKNOWN]),
                PathPiece::Placeholder(_) => text.push(UNKNOWN),
            }
        }
        self.matches_bytes(&text)
    }

    fn matches_bytes(&self, text: &[u8]) -> bool {
        let pattern = self.0.as_bytes();
        let is_star = |byte: &u8| *byte == b'*';
        let Some(first) = pattern.iter().position(is_star) else {
            return pattern == text;
        };
        // Compares the text before the first star and behind the last star directly, because most patterns have one star.
        let (start, rest) = pattern.split_at(first);
        let behind = rest.iter().rposition(is_star).map_or(0, |last| last + 1);
        let (stars, end) = rest.split_at(behind);
        let middle = text.strip_prefix(start).and_then(|text| text.strip_suffix(end));
        middle.is_some_and(|text| match stars {
            b"**" => true,
            b"*" => !text.contains(&b'/'),
            _ => matches_pieces(&pieces(stars), text),
        })
    }
}

/// A part of a pattern: one byte, or a star for any number of bytes.
#[derive(Clone, Copy, PartialEq)]
enum PatternPiece {
    Byte(u8),
    /// `*`: any bytes of one path segment.
    Within,
    /// `**`: any bytes.
    Across,
}

fn pieces(pattern: &[u8]) -> Vec<PatternPiece> {
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let [byte, after @ ..] = rest {
        let (piece, after) = match (byte, after) {
            (b'*', [b'*', after @ ..]) => (PatternPiece::Across, after),
            (b'*', after) => (PatternPiece::Within, after),
            (byte, after) => (PatternPiece::Byte(*byte), after),
        };
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Follows all ways to match in parallel, byte by byte. The time is the length of the pattern times the length of the text, for
/// every path that the author of a pod can write. (Trying one way after the other takes the square of that.)
fn matches_pieces(pieces: &[PatternPiece], text: &[u8]) -> bool {
    // At each position: whether the pieces before that position match the text up to now.
    let mut reached = vec![false; pieces.len() + 1];
    reached[0] = true;
    let skip_stars = |reached: &mut [bool]| {
        for (index, piece) in pieces.iter().enumerate() {
            let is_star = !matches!(piece, PatternPiece::Byte(_));
            reached[index + 1] |= is_star && reached[index];
        }
    };
    skip_stars(&mut reached);
    for byte in text {
        for (index, piece) in pieces.iter().enumerate().rev() {
            let (here, stays) = match piece {
                PatternPiece::Byte(expected) => (expected == byte, false),
                PatternPiece::Within => (false, *byte != b'/'),
                PatternPiece::Across => (false, true),
            };
            // From the end, because the position before still has its value for the byte before.
            if index + 1 == pieces.len() {
                reached[index + 1] = false;
            }
            reached[index + 1] |= here && reached[index];
            reached[index] &= stays;
        }
        skip_stars(&mut reached);
    }
    reached[pieces.len()]
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
        // With these patterns a matcher that tries one way after the other runs for ever.
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

    /// Regression: with one star in an allow rule, an author's path of 1,024 letters took a million steps, and an author has 64
    /// paths. If the time were the square of the length, this test would not end.
    #[test]
    fn a_long_path_of_one_letter_is_matched_quickly() {
        let text = "a".repeat(300_000);
        for pattern in ["**a*b", "**a*a*a*b*", "a**a**a**b", "*a*a*a*b", "**/*a*b"] {
            assert!(!pattern.parse::<Pattern>().unwrap().matches(&text), "{pattern}");
        }
    }

    /// Matches with a search through every way.
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
        fn a_text_matches_as_when_every_way_is_tried(pattern in "[a/*]{1,8}", text in "[a/]{0,8}") {
            let fast = Pattern(pattern.clone()).matches(&text);
            proptest::prop_assert_eq!(fast, matches_slowly(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
