//! Vault's answers, read from the buffer they arrived in: structs that borrow, with defaults for everything that one
//! server or the other leaves out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use http::header::{self, HeaderMap};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::Wanted;
use super::classify::{FailedTry, has_data_segment};
use super::error::{GoneVersion, Head, Meaning, Refusal, clean};
use super::lifetime;
use super::redact::redact;
use super::transport::Answered;
use crate::secret::{Lease, Secret};

/// So many warnings of the server's are told, and not more.
const MAX_SAID: usize = 256;
/// Deeper JSON is no secret. `serde_json` limits what it parses, but not what it skips.
const MAX_DEPTH: usize = 64;
/// Each name and value of an answer takes some tens of bytes of memory, however short it is: no more of them than fit several times
/// into a container of 64 MiB.
const MAX_VALUES: usize = 65_536;

/// What a login gave us.
#[derive(Debug)]
pub(super) struct Auth {
    pub(super) client_token: Secret,
    pub(super) accessor: String,
    pub(super) policies: Vec<String>,
    pub(super) ttl: Duration,
    pub(super) renewable: bool,
    /// Batch tokens cannot be revoked.
    pub(super) batch: bool,
    /// How often the token may be used; 0 means without end.
    pub(super) uses: u64,
}

/// What a renewal gave: never rely on having got what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// How long it lasts from now on.
    pub(crate) ttl: Duration,
    /// Whether it can be extended again.
    pub(crate) renewable: bool,
}

/// A secret as it was read: its data is a part of the answer's own buffer.
pub(crate) struct Reading {
    body: Zeroizing<Vec<u8>>,
    data: Range<usize>,
    whole: Range<usize>,
    /// The version that was read, of a KV v2 secret.
    pub(crate) version: Option<u64>,
    /// How long it lives, where that ends by itself.
    pub(crate) lease: Option<Lease>,
}

impl Reading {
    /// The data as a JSON object.
    pub(crate) fn data(&self) -> &str {
        // The body was UTF-8 when it was parsed.
        std::str::from_utf8(&self.body[self.data.clone()]).unwrap_or_default()
    }

    /// The same with what a KV v2 engine puts around it.
    pub(crate) fn whole_data(&self) -> &str {
        std::str::from_utf8(&self.body[self.whole.clone()]).unwrap_or_default()
    }

    /// Whether it ends with the client token that read it.
    pub(crate) fn has_lease(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.id.is_some())
    }

    /// How many bytes it keeps.
    pub(super) fn size(&self) -> usize {
        self.body.len()
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    auth: Option<&'a RawValue>,
    #[serde(borrow, default)]
    wrap_info: Option<&'a RawValue>,
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

/// The data of a KV v2 answer, and of nothing else: these two fields, and a version among the metadata.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Versioned<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    version: u64,
    #[serde(default)]
    destroyed: bool,
    #[serde(borrow, default)]
    deletion_time: Option<Cow<'a, str>>,
}

/// Reads the answer to a login.
pub(super) fn auth(answer: &Answered) -> Result<Auth, FailedTry> {
    let envelope = envelope(&answer.body)?;
    let Some(block) = envelope.auth else {
        return Err(nonsense(match envelope.wrap_info {
            Some(_) => "it is wrapped, though nobody asked for that",
            None => "it has no auth block",
        }));
    };
    let block: AuthBlock<'_> = object(block.get()).ok_or_else(|| nonsense("its auth block is not readable"))?;
    let token = match block.client_token {
        Some(token) if !token.is_empty() => token,
        _ if block.mfa_requirement.is_some() => return Err(second_factor(&block, answer)),
        _ => return Err(nonsense("it has no client token")),
    };
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(nonsense("its client token has characters that no token has"));
    }
    let client_token = Secret::from(token.into_owned().into_bytes());
    let mut confidential = answer.confidential.clone();
    confidential.push(client_token.clone());
    warn(&warnings(&envelope, &confidential), "the login");
    Ok(Auth {
        client_token,
        accessor: clean(&redact(&block.accessor.unwrap_or_default(), &confidential), 128),
        policies: block
            .token_policies
            .or(block.policies)
            .unwrap_or_default()
            .iter()
            .take(32)
            .map(|policy| clean(&redact(policy, &confidential), 128))
            .collect(),
        ttl: Duration::from_secs(block.lease_duration.unwrap_or(0)),
        renewable: block.renewable.unwrap_or(false),
        batch: block.token_type.is_some_and(|kind| kind == "batch"),
        uses: block.num_uses.unwrap_or(0),
    })
}

/// The login is subject to login MFA: which enforcements want that.
/// <https://openbao.org/docs/auth/login-mfa/>
fn second_factor(block: &AuthBlock<'_>, answer: &Answered) -> FailedTry {
    #[derive(Deserialize)]
    struct Requirement<'a> {
        #[serde(borrow, default)]
        mfa_constraints: Option<BTreeMap<String, &'a RawValue>>,
    }
    let requirement = block
        .mfa_requirement
        .and_then(|raw| object::<Requirement<'_>>(raw.get()));
    let names = requirement
        .and_then(|requirement| requirement.mfa_constraints)
        .unwrap_or_default();
    let names = names
        .keys()
        .take(5)
        .map(|name| clean(&redact(name, &answer.confidential), 128));
    meaning(answer, Meaning::SecondFactor(names.collect()))
}

/// An answer of the server's that was read, and is no success all the same.
fn meaning(answer: &Answered, meaning: Meaning) -> FailedTry {
    FailedTry::Refused(Box::new(Refusal {
        head: head(answer),
        from_vault: true,
        meaning: Some(meaning),
        ..Refusal::default()
    }))
}

/// A success that makes no sense. Whoever has the answer adds its head.
fn nonsense(what: &'static str) -> FailedTry {
    FailedTry::Nonsense(what, Head::default())
}

/// Status and content type, for messages.
pub(super) fn head(answer: &Answered) -> Head {
    Head {
        status: answer.status,
        content_type: redact(
            &text_header(&answer.headers, header::CONTENT_TYPE),
            &answer.confidential,
        ),
    }
}

/// Whether the body of a success is one of the API's, whatever is in it: an empty 204 is.
pub(super) fn is_word(answer: &Answered) -> bool {
    let known = |envelope: Envelope<'_>| {
        let parts = [envelope.data, envelope.auth, envelope.warnings];
        parts.iter().any(Option::is_some) || envelope.lease_id.is_some()
    };
    answer.status == 204 || envelope(&answer.body).is_ok_and(known)
}

/// Reads the answer to the renewal of a token.
pub(super) fn renewed_token(answer: &Answered) -> Result<Renewed, FailedTry> {
    let envelope = envelope(&answer.body)?;
    expected(&envelope, answer);
    let block: Option<AuthBlock<'_>> = envelope.auth.and_then(|block| object(block.get()));
    let block = block.ok_or_else(|| nonsense("it has no readable auth block"))?;
    Ok(Renewed {
        ttl: Duration::from_secs(block.lease_duration.unwrap_or(0)),
        renewable: block.renewable.unwrap_or(false),
    })
}

/// A server warns of each renewal that comes near the maximum TTL. So does the TTL that it gives.
fn expected(envelope: &Envelope<'_>, answer: &Answered) {
    for warning in warnings(envelope, &answer.confidential) {
        tracing::debug!(warning, "the server warns of a renewal");
    }
}

/// Reads the answer to the renewal of a lease.
pub(super) fn renewed_lease(answer: &Answered) -> Result<Renewed, FailedTry> {
    let envelope = envelope(&answer.body)?;
    expected(&envelope, answer);
    match envelope.lease_duration {
        Some(ttl) => Ok(Renewed {
            ttl: Duration::from_secs(ttl),
            renewable: envelope.renewable.unwrap_or(false),
        }),
        None => Err(nonsense("it has no lease duration")),
    }
}

/// Reads the answer to a read, or to a write in its place.
pub(super) fn reading(answer: Answered, wanted: &Wanted) -> Result<Reading, FailedTry> {
    let path = wanted.path.as_str();
    let head = head(&answer);
    let Answered {
        body,
        headers,
        confidential,
        ..
    } = answer;
    let envelope = envelope(&body)?;
    let data = match envelope.data {
        Some(data) => data.get(),
        None if envelope.wrap_info.is_some() => {
            return Err(nonsense("it is wrapped, though nobody asked for that"));
        }
        None => return Err(nonsense("it has no data")),
    };
    if !data.starts_with('{') {
        return Err(nonsense("its data is no object"));
    }
    let whole_text = data;
    let (data, version) = match versioned(path, data) {
        None => (data, None),
        Some(Versioned {
            data: Some(inner),
            metadata,
        }) if inner.get().starts_with('{') => (inner.get(), Some(metadata.version)),
        // The server says 404 with such a body; if it ever says 200, it is as gone.
        Some(Versioned { data: None, metadata }) => {
            return Err(FailedTry::Refused(Box::new(Refusal {
                head: Head { status: 404, ..head },
                from_vault: true,
                gone: Some(gone(&metadata)),
                ..Refusal::default()
            })));
        }
        Some(_) => return Err(nonsense("its data is no object")),
    };
    match (wanted.version, version) {
        (Some(_), None) => {
            return Err(FailedTry::Refused(Box::new(Refusal {
                head,
                from_vault: true,
                meaning: Some(Meaning::Unversioned),
                ..Refusal::default()
            })));
        }
        (Some(asked), Some(got)) if asked != got => {
            return Err(nonsense("it is another version than the one that was asked for"));
        }
        _ => {}
    }
    let range = |part: &str| {
        let start = part.as_ptr() as usize - body.as_ptr() as usize;
        start..start + part.len()
    };
    let (data, whole) = (range(data), range(whole_text));
    warn(&warnings(&envelope, &confidential), path);
    let lease = match envelope.lease_id {
        Some(id) if !id.is_empty() => Some(Lease {
            id: Some(id.into_owned()),
            duration: Duration::from_secs(envelope.lease_duration.unwrap_or(0)),
            renewable: envelope.renewable.unwrap_or(false),
        }),
        // What was only read was there before, and says nothing by such names.
        _ if wanted.data.is_some() => lifetime::told(whole_text, &headers).map(|duration| Lease {
            id: None,
            duration,
            renewable: false,
        }),
        _ => None,
    };
    Ok(Reading {
        body,
        data,
        whole,
        version,
        lease,
    })
}

/// What of an answer that is no success the classification needs.
pub(super) fn refusal(answer: &Answered, path: &str) -> Refusal {
    let mut refusal = Refusal {
        head: head(answer),
        retry_after: text_header(&answer.headers, header::RETRY_AFTER)
            .parse()
            .ok()
            .map(Duration::from_secs),
        ..Refusal::default()
    };
    let Ok(envelope) = envelope(&answer.body) else {
        // So the server answers most writes: with nothing.
        refusal.from_vault = answer.status == 204;
        refusal.meaning = spoken(answer);
        return refusal;
    };
    let (errors, warnings) = (list(envelope.errors), list(envelope.warnings));
    refusal.gone = envelope
        .data
        .and_then(|data| versioned(path, data.get()))
        .filter(|versioned| versioned.data.is_none())
        .map(|versioned| gone(&versioned.metadata));
    // Gateways have JSON of their own, which is none of these three.
    refusal.from_vault = errors.is_some() || warnings.is_some() || refusal.gone.is_some();
    refusal.errors = said(errors, &answer.confidential);
    refusal.warnings = said(warnings, &answer.confidential);
    refusal
}

/// What servers and proxies are known to say without JSON: Go's HTTP server, nginx, and the server's own metrics listener.
fn spoken(answer: &Answered) -> Option<Meaning> {
    const LOOKED_AT: usize = 4096;
    let body = String::from_utf8_lossy(answer.body.get(..LOOKED_AT).unwrap_or(&answer.body));
    let says = |text: &str| body.contains(text);
    let of_tls_port = says("HTTP request to an HTTPS server") || says("HTTP request was sent to HTTPS port");
    match answer.status {
        400 if answer.in_clear && (of_tls_port || answer.headers.is_empty()) => Some(Meaning::WantsTls),
        400 if of_tls_port => Some(Meaning::WantsTlsBehind),
        400 | 495 | 496 if says("SSL certificate was sent") || says("SSL certificate error") => {
            Some(Meaning::WantsClientCertificate)
        }
        404 if says("this listener only serves the metrics endpoint") => Some(Meaning::MetricsListener),
        _ => None,
    }
}

fn text_header(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(|text| clean(text, 80))
        .unwrap_or_default()
}

fn envelope(body: &[u8]) -> Result<Envelope<'_>, FailedTry> {
    if body.is_empty() {
        return Err(nonsense("it is empty"));
    }
    let shape = Shape::of(body);
    if shape.depth > MAX_DEPTH {
        return Err(nonsense("its JSON is nested too deeply"));
    }
    if shape.values > MAX_VALUES {
        return Err(nonsense("it has more than 65536 values, as no secret has"));
    }
    let text = std::str::from_utf8(body).map_err(|_| nonsense("it is not UTF-8"))?;
    // The parser's own words could quote the body.
    object(text).ok_or_else(|| nonsense("it is not the JSON it should be"))
}

/// Reads a struct from an object only: serde would take an array for one too.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    let json = json.trim_start();
    json.starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
}

fn versioned<'a>(path: &str, data: &'a str) -> Option<Versioned<'a>> {
    has_data_segment(path).then(|| object(data)).flatten()
}

fn gone(metadata: &Metadata<'_>) -> GoneVersion {
    GoneVersion {
        version: metadata.version,
        destroyed: metadata.destroyed,
        at: clean(metadata.deletion_time.as_deref().unwrap_or_default(), 64),
    }
}

fn warnings(envelope: &Envelope<'_>, confidential: &[Secret]) -> Vec<String> {
    said(list(envelope.warnings), confidential)
}

/// Each once: a sidecar reads the same for ever.
fn warn(warnings: &[String], what: &str) {
    static SAID: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
    let Ok(mut said) = SAID.lock() else { return };
    for warning in warnings {
        if said.len() < MAX_SAID && said.insert((what.to_owned(), warning.clone())) {
            tracing::warn!(of = what, warning, "the server warns");
        } else {
            tracing::debug!(of = what, warning, "the server warns");
        }
    }
}

/// A list of texts. None: it is not there, or something else.
fn list(raw: Option<&RawValue>) -> Option<Vec<String>> {
    serde_json::from_str(raw?.get()).ok()
}

fn said(texts: Option<Vec<String>>, confidential: &[Secret]) -> Vec<String> {
    let texts = texts.unwrap_or_default();
    let fit = texts.iter().take(5).map(|text| clean(&redact(text, confidential), 512));
    fit.collect()
}

/// How much there is in a JSON text: counted without recursion, and before anything is kept of it.
#[derive(Default)]
struct Shape {
    depth: usize,
    /// One less than all values and names, for each list and object: close enough.
    values: usize,
}

impl Shape {
    fn of(json: &[u8]) -> Self {
        let mut shape = Self::default();
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        for byte in json {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b',' => shape.values += 1,
                b'{' | b'[' => {
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        shape
    }
}

#[cfg(test)]
mod tests;
