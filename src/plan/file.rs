//! A file to deliver: the secret, the part of the secret, and the form.

use serde::{Deserialize, Serialize};

use super::{ApiPath, Data, Destination, Mode, WhenGone, words::words};

/// A file to deliver. `P` is [`ApiPath`] for a file of `init`, and `PathTemplate` for a file that the job reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedFile<P = ApiPath> {
    /// The API path of the secret.
    pub secret: P,
    /// The version to read (KV v2). None: the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<std::num::NonZeroU64>,
    /// The body of a write to the path. If there is a body, podkey writes instead of each read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// The field of the secret. None: the whole secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The encoding of the field's text, which is decoded before the file is written.
    #[serde(default, skip_serializing_if = "Decode::is_none")]
    pub decode: Decode,
    /// The format of the file.
    pub format: Format,
    /// Where the containers see the file.
    pub file: Destination,
    /// The permissions of the file.
    pub mode: Mode,
    /// What happens to the file when the secret is gone.
    #[serde(default, skip_serializing_if = "WhenGone::is_keep")]
    pub when_gone: WhenGone,
}

words! {
    /// The encoding of a field's text.
    pub enum Decode {
        /// The text is written as it is.
        None = "none",
        /// The text is decoded from base64 (RFC 4648 section 4). Line breaks and missing padding are accepted, as `base64`
        /// writes them.
        Base64 = "base64",
        /// The text is decoded from base64url (RFC 4648 section 5). Line breaks and missing padding are accepted.
        Base64url = "base64url",
        /// The text is decoded from hexadecimal digits (RFC 4648 section 8), in either case. Line breaks are accepted.
        Hex = "hex",
    }
    default None
}

impl Decode {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

words! {
    /// How a field or a whole secret is written into a file.
    pub enum Format {
        /// The field's bytes and nothing else.
        Raw = "raw",
        /// JSON, with numbers as the server wrote them.
        Json = "json",
        /// YAML 1.2, one line for each field.
        Yaml = "yaml",
        /// `NAME='value'` lines that `sh` reads.
        Dotenv = "dotenv",
        /// Java properties.
        Properties = "properties",
    }
}
