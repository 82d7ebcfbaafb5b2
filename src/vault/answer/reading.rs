//! The answer to a read, or to a write whose answer is the secret.

use std::ops::Range;
use std::time::Duration;

use zeroize::Zeroizing;

use super::warnings::{log_once, warnings};
use super::{Envelope, KvV2Data, WRAPPED, envelope, gone, kv_v2, refused};
use crate::http::ResponseHead;
use crate::plan::ApiPath;
use crate::secret::Lease;
use crate::vault::error_response::{ErrorResponse, Meaning};
use crate::vault::failed_try::FailedTry;
use crate::vault::lifetime;
use crate::vault::transport::ApiResponse;
use crate::vault::wanted::Wanted;

/// A secret that was read. Its data is a part of the answer's own buffer.
pub(crate) struct Reading {
    body: Zeroizing<Vec<u8>>,
    data: Range<usize>,
    whole: Range<usize>,
    /// The version of a KV v2 secret.
    pub(crate) version: Option<u64>,
    /// How long the secret lives, where it expires.
    pub(crate) lease: Option<Lease>,
    /// Identifies the request in the server's audit log: a UUID, or empty where the server sent anything else. So no part of a
    /// secret comes from here into podkey's log.
    pub(in crate::vault) request_id: String,
}

impl Reading {
    /// The fields of the secret, a JSON object.
    pub(crate) fn data(&self) -> &str {
        self.text(&self.data)
    }

    /// The whole body of the answer.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The whole `data` of the answer: for a KV v2 secret, the object with `data` and `metadata`.
    pub(crate) fn whole_data(&self) -> &str {
        self.text(&self.whole)
    }

    fn text(&self, range: &Range<usize>) -> &str {
        // The body was UTF-8 when it was parsed.
        std::str::from_utf8(&self.body[range.clone()]).unwrap_or_default()
    }

    /// A secret of this path that another process of podkey has read: from the body of the answer, which that process has checked.
    /// The lease is left out. None: the body is no such answer.
    pub(crate) fn handed_over(body: &[u8], path: &ApiPath) -> Option<Self> {
        let whole = envelope(body)
            .ok()?
            .data
            .filter(|data| data.get().starts_with('{'))?
            .get();
        let kv_v2 = kv_v2(path.as_str(), whole);
        let version = kv_v2.as_ref().map(|data| data.metadata.version);
        let data = kv_v2.and_then(|data| data.data).map_or(whole, |fields| fields.get());
        Some(Self {
            data: range_in(body, data),
            whole: range_in(body, whole),
            body: Zeroizing::new(body.to_vec()),
            version,
            lease: None,
            request_id: String::new(),
        })
    }

    /// Whether the secret ends with the client token that read it.
    pub(crate) fn has_lease(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.id.is_some())
    }

    /// How many bytes the answer has.
    pub(in crate::vault) fn size(&self) -> usize {
        self.body.len()
    }
}

/// Reads the answer to a read, or to a write in its place.
pub(in crate::vault) fn reading(answer: ApiResponse, wanted: &Wanted) -> Result<Reading, FailedTry> {
    let path = wanted.path.as_str();
    let body = &answer.http.body;
    let envelope = envelope(body)?;
    let whole = match envelope.data {
        Some(data) if data.get().starts_with('{') => data.get(),
        Some(_) => return Err(NOT_AN_OBJECT),
        None if envelope.wrap_info.is_some() => return Err(FailedTry::malformed(WRAPPED)),
        None => return Err(FailedTry::malformed("it has no data")),
    };
    let (data, version) = unwrap_kv_v2(path, whole, &answer)?;
    match (wanted.version, version) {
        (Some(_), None) => return Err(refused(&answer, Meaning::Unversioned)),
        (Some(asked), Some(got)) if asked != got => {
            return Err(FailedTry::malformed("it is another version than podkey asked for"));
        }
        _ => {}
    }
    let (data, whole_range) = (range_in(body, data), range_in(body, whole));
    log_once(&warnings(&envelope, &answer.confidential), path);
    let lease = lease(&envelope, whole, wanted, &answer);
    let request_id = envelope.request_id.as_deref().filter(|id| is_uuid(id));
    Ok(Reading {
        request_id: request_id.unwrap_or_default().to_owned(),
        data,
        whole: whole_range,
        version,
        lease,
        body: answer.http.body,
    })
}

fn is_uuid(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Where a part of the body is in the body.
fn range_in(body: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - body.as_ptr() as usize;
    start..start + part.len()
}

const NOT_AN_OBJECT: FailedTry = FailedTry::malformed("its data is not an object");

/// The fields of the secret, and the version where the secret is of a KV v2 engine.
fn unwrap_kv_v2<'a>(path: &str, data: &'a str, answer: &ApiResponse) -> Result<(&'a str, Option<u64>), FailedTry> {
    match kv_v2(path, data) {
        None => Ok((data, None)),
        Some(KvV2Data {
            data: Some(fields),
            metadata,
        }) if fields.get().starts_with('{') => Ok((fields.get(), Some(metadata.version))),
        // A server sends 404 with such a body. If one ever sends 200, the version is gone as well.
        Some(KvV2Data { data: None, metadata }) => Err(FailedTry::Refused(Box::new(ErrorResponse {
            head: ResponseHead {
                status: 404,
                ..answer.head()
            },
            from_vault: true,
            gone: Some(gone(&metadata)),
            ..ErrorResponse::default()
        }))),
        Some(_) => Err(NOT_AN_OBJECT),
    }
}

/// How long the secret lives: by its lease, or by the expiry of a certificate in its data.
fn lease(envelope: &Envelope<'_>, data: &str, wanted: &Wanted, answer: &ApiResponse) -> Option<Lease> {
    match &envelope.lease_id {
        Some(id) if !id.is_empty() => Some(Lease {
            id: Some(id.to_string()),
            duration: Duration::from_secs(envelope.lease_duration.unwrap_or(0)),
            renewable: envelope.renewable.unwrap_or(false),
        }),
        // Only a write creates a certificate. A secret that is read may have fields of the same names with another meaning.
        _ if wanted.data.is_some() => lifetime::remaining(data, &answer.http.headers).map(|duration| Lease {
            id: None,
            duration,
            renewable: false,
        }),
        _ => None,
    }
}
