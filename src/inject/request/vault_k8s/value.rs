//! The value of one annotation of vault-k8s, with the ways to parse it that several keys share.

use crate::inject::problem::{Problems, quoted};
use crate::inject::request::vault_k8s::draft::{NamedKeys, VaultK8sDraft};
use crate::inject::request::vault_k8s::go;
use crate::inject::request::vault_k8s::written::Written;

/// The value of one annotation, for the parser of the key.
pub(super) struct TheirValue<'a, 'p> {
    pub(super) written: Written<'a>,
    /// What follows the key of the table: the NAME of a secret, or the name of a parameter.
    pub(super) suffix: Option<&'a str>,
    pub(super) problems: &'p mut Problems,
}

impl<'a> TheirValue<'a, '_> {
    /// The keys of the secret with this value's NAME.
    pub(super) fn named<'d>(&self, draft: &'d mut VaultK8sDraft<'a>) -> &'d mut NamedKeys<'a> {
        draft.names.entry(self.suffix.unwrap_or_default()).or_default()
    }

    /// Reports what is wrong with the value.
    pub(super) fn problem(&mut self, message: impl Into<String>) {
        self.problems.push(self.written.key(), message);
    }

    /// The value, parsed by a function whose error ends a sentence that begins with the key.
    pub(super) fn checked<T>(&mut self, parse: impl FnOnce(&'a str) -> Result<T, String>) -> Option<T> {
        parse(self.written.text).map_err(|why| self.problem(why)).ok()
    }

    /// A boolean of Go's.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        self.checked(go::boolean)
    }

    /// As [`Self::checked`], but an empty value is no value.
    pub(super) fn optional<T>(&mut self, parse: impl FnOnce(&'a str) -> Result<T, String>) -> Option<T> {
        match self.written.text {
            "" => None,
            _ => self.checked(parse),
        }
    }

    /// Keeps the key for the warning of keys without effect.
    pub(super) fn ignore(self, draft: &mut VaultK8sDraft<'a>) {
        draft.without_effect.push(self.written.name);
    }

    /// Checks the value, and keeps the key for the warning.
    pub(super) fn check_and_ignore<T>(
        mut self,
        draft: &mut VaultK8sDraft<'a>,
        parse: impl FnOnce(&'a str) -> Result<T, String>,
    ) {
        if self.optional(parse).is_some() {
            self.ignore(draft);
        }
    }

    /// podkey does what the boolean `does` asks for, whatever the value is.
    pub(super) fn always(mut self, does: bool, draft: &mut VaultK8sDraft<'a>) {
        if self.boolean() == Some(!does) {
            self.ignore(draft);
        }
    }

    /// Refuses a value that is not empty. `why` ends a sentence that begins with the key.
    pub(super) fn refuse(mut self, why: &'static str) {
        if !self.written.text.trim().is_empty() {
            self.problem(why);
        }
    }

    /// Refuses a patch that changes something.
    pub(super) fn refuse_patch(self) {
        if !["null", "[]"].contains(&self.written.text.trim()) {
            self.refuse("would change podkey's own containers, which the operator alone configures: remove it");
        }
    }

    /// The value in quotes, for messages.
    pub(super) fn quoted(&self) -> String {
        quoted(self.written.text)
    }
}
