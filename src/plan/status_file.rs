//! What `.status.json` says of each file: its fields and states, for the sidecar that writes them and for `podkey explain`.

use super::words::words;

/// The fields of the whole file, with their meanings. The agent's types have these fields: a test compares them.
#[cfg(any(feature = "cli", test))]
pub(crate) const STATUS_FIELDS: &[(&str, &str)] = &[
    (
        "updated",
        "When podkey wrote the status, by the node's clock (RFC 3339).",
    ),
    ("state", "The worst state of a file."),
    ("files", "Each file, by its name below `/podkey/secrets/`."),
];

/// The fields of one file of the status, with their meanings.
#[cfg(any(feature = "cli", test))]
pub(crate) const STATUS_OF_FILE_FIELDS: &[(&str, &str)] = &[
    ("secret", "The paths that were read, with commas between them."),
    ("version", "The version of the secret in the file (KV version 2)."),
    ("state", "The state of the file."),
    (
        "reason",
        "Why the file is not fresh. Only there if the state is not `fresh`.",
    ),
    (
        "lastSuccess",
        "When the server last confirmed the content, by the node's clock.",
    ),
    ("nextTry", "When the sidecar reads next, by the node's clock."),
    (
        "ttlSeconds",
        "How many seconds the secret lives from when it was obtained; 0: the server does not say. Only there if the secret ends by itself.",
    ),
    (
        "leased",
        "`true`, if the secret has a lease, which ends with the client token. Otherwise the field is not there.",
    ),
];

/// A status with each field. A test of the agent's types reads it.
#[cfg(any(feature = "cli", test))]
pub(crate) const STATUS_EXAMPLE: &str = r#"{
  "updated": "2026-11-29T10:15:30Z",
  "state": "denied",
  "files": {
    "db.env": {
      "secret": "database/creds/web",
      "state": "fresh",
      "lastSuccess": "2026-11-29T10:15:00Z",
      "nextTry": "2026-11-29T10:55:00Z",
      "ttlSeconds": 3600,
      "leased": true
    },
    "web.json": {
      "secret": "kv/data/web",
      "version": 3,
      "state": "denied",
      "reason": "Vault denies to read kv/data/web",
      "lastSuccess": "2026-11-29T10:14:30Z",
      "nextTry": "2026-11-29T10:16:00Z"
    }
  }
}
"#;

words! {
    /// The states of a file, the best first.
    #[derive(PartialOrd, Ord)]
    pub(crate) enum FileState {
        /// The file has what the server had when podkey last asked.
        Fresh = "fresh",
        /// The content is older: the last read failed, or podkey did not read when the read was due.
        Stale = "stale",
        /// The server has new data from which podkey cannot make this file, or another file of the secret.
        Invalid = "invalid",
        /// There is new content, and podkey cannot write it.
        Unwritten = "unwritten",
        /// The server denies the read.
        Denied = "denied",
        /// The secret, or the field, is gone.
        Gone = "gone",
        /// The credential in the file has ended.
        Expired = "expired",
        /// Nothing was delivered: the job will fail.
        Failed = "failed",
    }
}
