//! The operator's allow rules: which pods may use a connection for what.

use serde::Deserialize;

use super::pod::Pod;
use crate::plan::{Login, PlannedFile};

/// One rule. All fields must match, and a field left out matches all.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowRule {
    /// Namespaces of pods.
    pub namespaces: Option<Vec<Pattern>>,
    /// Service accounts of pods.
    pub service_accounts: Option<Vec<Pattern>>,
    /// Vault roles.
    pub roles: Option<Vec<Pattern>>,
    /// Mounts of auth methods.
    pub auth_mounts: Option<Vec<Pattern>>,
    /// API paths of secrets.
    pub secrets: Option<Vec<Pattern>>,
}

impl AllowRule {
    /// Whether this rule allows the whole of what a pod asks for.
    pub(super) fn allows(&self, pod: &Pod<'_>, namespace: &str, login: &Login, files: &[PlannedFile]) -> bool {
        let any = |patterns: &Option<Vec<Pattern>>, text: &str| match patterns {
            None => true,
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(text)),
        };
        any(&self.namespaces, namespace)
            && any(&self.service_accounts, pod.service_account())
            && any(&self.roles, login.role.as_str())
            && any(&self.auth_mounts, login.mount.as_str())
            && files.iter().all(|file| any(&self.secrets, file.secret.as_str()))
    }
}

/// A text in which `*` stands for any characters within a path segment and `**` for any characters across segments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Vec<Token>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    Within,
    Across,
}

impl TryFrom<String> for Pattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("an empty pattern matches nothing: write \"*\" or \"**\", or leave the field out");
        }
        let mut tokens = Vec::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' if chars.next_if_eq(&'*').is_some() => Token::Across,
                '*' => Token::Within,
                c => Token::Char(c),
            });
        }
        Ok(Self(tokens))
    }
}

impl Pattern {
    /// Whether the whole text matches, in time proportional to pattern times text whatever the pattern.
    pub fn matches(&self, text: &str) -> bool {
        // reached[i]: the first i tokens match the text read so far.
        let mut reached = vec![false; self.0.len() + 1];
        reached[0] = true;
        let skip_stars = |reached: &mut [bool]| {
            for (index, token) in self.0.iter().enumerate() {
                if reached[index] && !matches!(token, Token::Char(_)) {
                    reached[index + 1] = true;
                }
            }
        };
        skip_stars(&mut reached);
        for c in text.chars() {
            let mut next = vec![false; reached.len()];
            for (index, token) in self.0.iter().enumerate() {
                if !reached[index] {
                    continue;
                }
                match token {
                    Token::Char(expected) if *expected == c => next[index + 1] = true,
                    Token::Char(_) => {}
                    Token::Within if c == '/' => {}
                    Token::Within | Token::Across => next[index] = true,
                }
            }
            skip_stars(&mut next);
            reached = next;
        }
        reached.last().copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stays_in_its_segment_and_two_cross() {
        let matches = |pattern: &str, text| Pattern::try_from(pattern.to_owned()).unwrap().matches(text);
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
        assert!(Pattern::try_from(String::new()).is_err());
        // A pattern that makes a backtracking matcher run for ever.
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
    }
}
