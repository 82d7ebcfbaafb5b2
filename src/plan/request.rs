//! One request for a secret: the path to read, or the path and the data to write.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::{ApiPath, Data};

/// A request whose answer is a secret. `P` is [`ApiPath`] for a request of `init`, and `PathTemplate` for a request of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRequest<P = ApiPath> {
    /// The API path of the secret.
    pub secret: P,
    /// The version to read (KV v2). None: the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<NonZeroU64>,
    /// The body of a write to the path. If there is a body, podkey writes instead of each read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
}

impl<P> SecretRequest<P> {
    /// The request for the newest version of a secret.
    pub fn read(secret: P) -> Self {
        Self {
            secret,
            version: None,
            data: None,
        }
    }
}
