//! What a person needs to know of one key. Parsers, suggestions and reference pages read tables of these.

/// What a person needs to know of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentedKey {
    /// As it is written: `podkey.dev/role`, `when-gone`, `connections.NAME.auth.mount`, `connections.NAME.allow[].secrets`.
    pub key: &'static str,
    /// One sentence.
    pub meaning: &'static str,
    /// What holds where the key is left out. Words, or the value in backquotes; "required" where the key must be there.
    pub default: &'static str,
    /// Where the key has an effect.
    pub scope: Scope,
    /// A value that parses, as YAML or text.
    pub example: &'static str,
    /// What the value is, such as a duration with its bounds. Empty, where the vocabulary's words are all of them.
    pub value: &'static str,
    /// What else a person should know: limits, and what must be there beside the key. Can be empty.
    pub details: &'static str,
}

impl DocumentedKey {
    /// The key without the keys that it stands below: `mount` of `connections.NAME.auth.mount`.
    pub(crate) fn last(&self) -> &'static str {
        self.key.rsplit('.').next().unwrap_or(self.key)
    }
}

/// Where a key has an effect. In other pods the key is refused, or it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In each pod that podkey injects.
    AllPods,
    /// In pods whose job hooks are on.
    JobHooks,
    /// In pods with `podkey.dev/refresh`.
    Refresh,
    /// Nowhere: podkey writes the key, for people to read.
    Information,
}
