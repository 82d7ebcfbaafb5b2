//! The warnings and errors that a server sends with an answer, as podkey logs and reports them.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::value::RawValue;

use super::Envelope;
use crate::http::{clean, redact};
use crate::secret::Secret;

/// How many different warnings are logged as warnings. Further ones are only for debugging.
const MAX_LOGGED: usize = 256;
/// How many texts of one answer are kept.
const MAX_TEXTS: usize = 5;

/// The warnings of an answer, fit for a message.
pub(super) fn warnings(envelope: &Envelope<'_>, confidential: &[Secret]) -> Vec<String> {
    fit_for_messages(list(envelope.warnings), confidential)
}

/// Logs each warning once: a sidecar reads the same path again and again.
pub(super) fn log_once(warnings: &[String], of: &str) {
    static LOGGED: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
    let Ok(mut logged) = LOGGED.lock() else { return };
    for warning in warnings {
        if logged.len() < MAX_LOGGED && logged.insert((of.to_owned(), warning.clone())) {
            tracing::warn!(of, warning, "the server warns");
        } else {
            tracing::debug!(of, warning, "the server warns");
        }
    }
}

/// A list of texts. None: there is no list, or a list of something else.
pub(super) fn list(raw: Option<&RawValue>) -> Option<Vec<String>> {
    serde_json::from_str(raw?.get()).ok()
}

/// The first texts of a list, each without podkey's tokens, escaped and cut.
pub(super) fn fit_for_messages(texts: Option<Vec<String>>, confidential: &[Secret]) -> Vec<String> {
    let texts = texts.unwrap_or_default();
    let fit = texts.iter().take(MAX_TEXTS);
    fit.map(|text| clean(&redact(text, confidential), 512)).collect()
}
