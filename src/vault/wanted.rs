//! What podkey reads or writes, and what a path shows about its engine.

use crate::plan::{ApiPath, Data};

/// What to read. Equal ones are read once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) path: ApiPath,
    /// The version of a KV v2 secret. None: the newest.
    pub(crate) version: Option<u64>,
    /// The body of a write. The path is then written, not read, and the answer is the secret.
    pub(crate) data: Option<Data>,
}

impl Wanted {
    /// Whether reading the path may create a new credential, as far as that is known before the first read. A read from a KV v2
    /// engine, recognised by its path, creates none.
    pub(crate) fn may_mint(&self) -> bool {
        self.data.is_some() || !has_data_segment(self.path.as_str())
    }
}

/// Whether a path looks like one of a KV v2 engine: `data` is a segment behind the mount.
pub(super) fn has_data_segment(path: &str) -> bool {
    path.split('/').skip(1).any(|segment| segment == "data")
}
