//! What podkey reads or writes, and what a path shows about its engine.

use std::num::NonZeroU64;

use crate::plan::{ApiPath, Data, SecretRequest};

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
    /// What a request of the plan reads or writes.
    pub(crate) fn of(request: &SecretRequest) -> Self {
        Self::filled(request, request.secret.clone())
    }

    /// As [`Self::of`], with every placeholder of the path filled in.
    pub(crate) fn filled<P>(request: &SecretRequest<P>, path: ApiPath) -> Self {
        Self {
            path,
            version: request.version.map(NonZeroU64::get),
            data: request.data.clone(),
        }
    }

    /// Whether reading the path may create a new credential, as far as that is known before the first read. A read from a KV v2
    /// engine, recognised by its path, creates none.
    pub(crate) fn may_mint(&self) -> bool {
        self.data.is_some() || !has_data_segment(self.path.as_str())
    }

    /// Whether the answer probably has a lease: the path is written, or has a segment of [`MINTING`]. Such a path is not read inline:
    /// the engine would make the credential, and the server would revoke the credential in the same request and refuse the read
    /// (tried with OpenBao 2.7.2).
    pub(super) fn probably_mints(&self) -> bool {
        let mut segments = self.path.as_str().split('/').skip(1);
        self.data.is_some() || self.may_mint() && segments.any(|segment| MINTING.contains(&segment))
    }
}

/// Segments of the paths at which engines give a credential with a lease to whoever reads them (database, aws, azure, gcp,
/// consul, nomad, rabbitmq, ldap, terraform).
const MINTING: [&str; 4] = ["creds", "sts", "roleset", "static-account"];

/// Whether a path looks like one of a KV v2 engine: `data` is a segment behind the mount.
pub(super) fn has_data_segment(path: &str) -> bool {
    path.split('/').skip(1).any(|segment| segment == "data")
}
