//! What podkey does otherwise than vault-k8s, in warnings to the pod's author: short ASCII lines.

use crate::inject::problem::{Warnings, did_you_mean};
use crate::inject::request::vault_k8s::draft::VaultK8sDraft;
use crate::inject::request::vault_k8s::keys::KEYS;

/// The beginnings of the keys that say whom the agent trusts.
const TRUST: [&str; 2] = ["tls-", "ca-"];
/// The longest warning, in bytes. The API server cuts longer ones.
const MAX_BYTES: usize = 119;

/// At most four lines. `runs_commands`: no command is left out.
pub(super) fn warnings(draft: &VaultK8sDraft<'_>, runs_commands: bool) -> Warnings {
    let mut warnings = Vec::new();
    if !draft.unknown.is_empty() {
        let hint = match draft.unknown.as_slice() {
            [name] => did_you_mean(name, KEYS.iter().map(|row| row.key)),
            _ => String::new(),
        };
        warnings.push(listed("podkey: not a key of vault-k8s: ", &draft.unknown, &hint));
    }
    if !draft.without_effect.is_empty() {
        // A list that is too long is cut: what decides whom podkey trusts comes first.
        let mut keys = draft.without_effect.clone();
        keys.sort_by_key(|key| !TRUST.iter().any(|trust| key.starts_with(trust)));
        warnings.push(listed("podkey: no effect here: ", &keys, ""));
    }
    let mut others = Vec::new();
    if draft.token_volume {
        others.push("the login is with a token of podkey's: the role must take its audience");
    }
    if !draft.pre_populate {
        others.push("the containers start only with the secrets, by podkey-init");
    }
    if draft.interval.is_some_and(|(_, is_other)| is_other) && !draft.pre_populate_only {
        others.push("the interval of reading again is 5s to 24h");
    }
    if !runs_commands {
        others.push("agent-inject-command has no effect without a sidecar");
    }
    warnings.extend(joined(&others));
    warnings
}

/// The sentences, as many in a line as there is room for.
fn joined(sentences: &[&str]) -> Warnings {
    let mut lines: Warnings = Vec::new();
    for sentence in sentences {
        match lines.last_mut() {
            Some(line) if line.len() + 2 + sentence.len() <= MAX_BYTES => {
                line.push_str("; ");
                line.push_str(sentence);
            }
            _ => lines.push(format!("podkey: {sentence}")),
        }
    }
    lines
}

/// The keys, as many as there is room for.
fn listed(beginning: &str, keys: &[&str], hint: &str) -> String {
    /// The end of a list that is cut.
    const MORE_BYTES: usize = " and 1000 more".len();
    let mut line = beginning.to_owned();
    for (index, key) in keys.iter().enumerate() {
        let key = shown(key);
        let separator = if index == 0 { "" } else { ", " };
        if line.len() + separator.len() + key.len() + MORE_BYTES > MAX_BYTES {
            return format!("{line} and {} more", keys.len() - index);
        }
        line.push_str(separator);
        line.push_str(&key);
    }
    let fits = hint.is_ascii() && line.len() + hint.len() <= MAX_BYTES;
    line + if fits { hint } else { "" }
}

/// A key in a line of ASCII. An annotation's key has at most 63 characters behind its prefix; a manifest may have any text there.
fn shown(key: &str) -> String {
    let visible = key.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' });
    visible.take(63).collect()
}
