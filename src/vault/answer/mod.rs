//! Vault's answers, read from the buffer in which they arrived: structs that borrow, with a default for every field that one
//! of the servers leaves out.

mod auth;
mod errors;
mod json_size;
mod reading;
mod renewal;
mod warnings;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) use self::auth::{Auth, auth};
pub(super) use self::errors::{error_response, is_of_the_api};
use self::json_size::JsonSize;
pub(crate) use self::reading::Reading;
pub(super) use self::reading::reading;
pub(crate) use self::renewal::Renewed;
pub(super) use self::renewal::{renewed_lease, renewed_token};
use super::error_response::{ErrorResponse, GoneVersion, Meaning};
use super::failed_try::FailedTry;
use super::transport::ApiResponse;
use super::wanted::has_data_segment;
use crate::http::clean;

/// The deepest nesting of an answer: deeper JSON is no secret. `serde_json` limits the depth of what it parses, but not of what
/// it skips.
const MAX_DEPTH: usize = 64;
/// How many names and values an answer may have. Even a short value takes some tens of bytes of memory, and all values must fit
/// several times into a container of 64 MiB.
const MAX_VALUES: usize = 65_536;

/// The fields of every answer of the API.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    auth: Option<&'a RawValue>,
    #[serde(borrow, default)]
    wrap_info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    lease_id: Option<Cow<'a, str>>,
    #[serde(default)]
    lease_duration: Option<u64>,
    #[serde(default)]
    renewable: Option<bool>,
    #[serde(borrow, default)]
    warnings: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
}

/// The field `auth`, of a login or of a token renewal.
#[derive(Deserialize)]
struct AuthBlock<'a> {
    #[serde(borrow, default)]
    client_token: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    accessor: Option<Cow<'a, str>>,
    #[serde(default)]
    policies: Option<Vec<String>>,
    #[serde(default)]
    token_policies: Option<Vec<String>>,
    #[serde(default)]
    lease_duration: Option<u64>,
    #[serde(default)]
    renewable: Option<bool>,
    #[serde(borrow, default)]
    token_type: Option<Cow<'a, str>>,
    #[serde(default)]
    num_uses: Option<u64>,
    #[serde(borrow, default)]
    mfa_requirement: Option<&'a RawValue>,
}

/// The field `data` of a KV v2 answer: exactly these two fields, with a version in the metadata.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KvV2Data<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: VersionMetadata<'a>,
}

#[derive(Deserialize)]
struct VersionMetadata<'a> {
    version: u64,
    #[serde(default)]
    destroyed: bool,
    #[serde(borrow, default)]
    deletion_time: Option<Cow<'a, str>>,
}

const WRAPPED: &str = "it is wrapped, and podkey asks for no wrapping";

fn envelope(body: &[u8]) -> Result<Envelope<'_>, FailedTry> {
    if body.is_empty() {
        return Err(FailedTry::malformed("it is empty"));
    }
    let size = JsonSize::of(body);
    if size.depth > MAX_DEPTH {
        return Err(FailedTry::malformed("its JSON is nested too deeply"));
    }
    if size.values > MAX_VALUES {
        return Err(FailedTry::malformed("it has more than 65536 values, as no secret has"));
    }
    let text = std::str::from_utf8(body).map_err(|_| FailedTry::malformed("it is not UTF-8"))?;
    // The parser's own error could quote the body.
    object(text).ok_or_else(|| FailedTry::malformed("it is not the JSON it should be"))
}

/// Parses a struct from an object only: serde would take an array for a struct too.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    let json = json.trim_start();
    json.starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
}

/// The data of a KV v2 secret. None: the path or the data is not of a KV v2 engine.
fn kv_v2<'a>(path: &str, data: &'a str) -> Option<KvV2Data<'a>> {
    has_data_segment(path).then(|| object(data)).flatten()
}

fn gone(metadata: &VersionMetadata<'_>) -> GoneVersion {
    GoneVersion {
        version: metadata.version,
        destroyed: metadata.destroyed,
        at: clean(metadata.deletion_time.as_deref().unwrap_or_default(), 64),
    }
}

/// An answer of the server that podkey could read, and that is no success because of this meaning.
fn refused(answer: &ApiResponse, meaning: Meaning) -> FailedTry {
    FailedTry::Refused(Box::new(ErrorResponse {
        head: answer.head(),
        from_vault: true,
        meaning: Some(meaning),
        ..ErrorResponse::default()
    }))
}

#[cfg(test)]
mod tests;
