//! The client token as a file, for apps that ask the server themselves: `agent-inject-token` of vault-k8s.

use serde::{Deserialize, Serialize};

use super::{Destination, Mode};

/// The file that holds the client token, without a newline. `init` then does not revoke the token, and the sidecar writes each new
/// token into the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TokenFile {
    /// Where the containers see the file: in a directory of its own.
    pub(crate) file: Destination,
    /// The permissions of the file.
    pub(crate) mode: Mode,
}
