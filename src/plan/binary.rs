//! How the agent's program comes to the containers that use it.

use super::words::words;

words! {
    /// How the agent's program comes to the containers that use it: for job hooks, and in front of commands.
    pub(crate) enum Binary {
        /// `podkey-init` copies its own program into a volume.
        Copy = "copy",
        /// The agent's image is a volume (Kubernetes 1.36 or later). A pod whose secrets are all read by the job then has no
        /// `podkey-init`.
        ImageVolume = "imageVolume",
    }
    default Copy
}

impl Binary {
    pub(super) fn is_copy(&self) -> bool {
        *self == Self::Copy
    }
}
