//! The value of one annotation, and the key as the author wrote it.

use crate::inject::problem::unquoted;
use crate::inject::words::vault_k8s::Family;

/// A value, and the key as the author wrote it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) family: Family,
    /// The key without the family's prefix.
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl Written<'_> {
    /// The whole key, for messages. The API server checks a key's characters only after the webhook.
    pub(super) fn key(&self) -> String {
        self.family.key(&unquoted(self.name))
    }
}
