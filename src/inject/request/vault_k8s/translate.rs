//! Problems that the checks report under podkey's keys, under the keys of vault-k8s that ask for the same.

use crate::inject::problem::Problems;
use crate::inject::words::keys::{AUTH_MOUNT, CONNECTION, CONTAINERS, FILES, ON_CHANGE, REFRESH, ROLE};
use crate::inject::words::vault_k8s::{Family, INJECT};

/// Our key, and theirs.
const KEYS: [(&str, &str); 7] = [
    (CONNECTION, INJECT),
    (ROLE, "role"),
    (AUTH_MOUNT, "auth-path"),
    (CONTAINERS, "agent-inject-containers"),
    (REFRESH, "agent-pre-populate-only"),
    (ON_CHANGE, "agent-inject-command"),
    (FILES, INJECT),
];

/// Renames the keys of the problems.
pub(crate) fn in_their_words(problems: &mut Problems, family: Family) {
    problems.rename(|key| {
        let (_, theirs) = KEYS.iter().find(|(ours, _)| *ours == key)?;
        Some(family.key(theirs))
    });
}
