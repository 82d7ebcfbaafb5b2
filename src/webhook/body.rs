//! Bodies. A request's body takes its bytes from the account before they are allocated. An answer's body returns its bytes
//! when TLS has the last byte.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::time::{Instant, timeout_at};

use super::account::{Account, Hold};
use super::connection::OpenConnection;
use super::limits::{MAX_BODY_BYTES, SMALL_BODY_BYTES, USUAL_BODY_BYTES};
use super::metrics::InvalidReason;

/// An HTTP error in place of an AdmissionReview.
pub(super) struct HttpRefusal {
    pub(super) status: StatusCode,
    /// How the metrics count the request.
    pub(super) reason: InvalidReason,
    pub(super) message: &'static str,
}

impl HttpRefusal {
    const UNSUPPORTED: Self = Self {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        reason: InvalidReason::NotAReview,
        message: "the body must be application/json",
    };
    const EMPTY: Self = Self {
        status: StatusCode::BAD_REQUEST,
        reason: InvalidReason::NotAReview,
        message: "the body is empty",
    };
    const TOO_LARGE: Self = Self {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: InvalidReason::TooLarge,
        message: "the body is larger than 8 MiB",
    };
    const TOO_SLOW: Self = Self {
        status: StatusCode::REQUEST_TIMEOUT,
        reason: InvalidReason::TooSlow,
        message: "the body did not arrive in time: try again",
    };
    const BROKE_OFF: Self = Self {
        status: StatusCode::BAD_REQUEST,
        reason: InvalidReason::BrokeOff,
        message: "the body broke off",
    };
    /// The account has no memory for the body or for the answer.
    pub(super) const BUSY: Self = Self {
        status: StatusCode::SERVICE_UNAVAILABLE,
        reason: InvalidReason::Overloaded,
        message: "podkey is overloaded: other clients send large reviews or do not read their answers. Try again; if this goes on, set networkPolicy.apiServerCidrs",
    };
}

/// A request's body, and the bytes of the account that the body holds.
pub(super) struct RequestBody {
    pub(super) bytes: Vec<u8>,
    _hold: Option<Hold>,
}

/// Reads a whole body, until the deadline.
pub(super) async fn read(
    account: &Account,
    connection: &Arc<OpenConnection>,
    request: Request<Incoming>,
    deadline: Instant,
) -> Result<RequestBody, HttpRefusal> {
    if !is_json(request.headers()) {
        return Err(HttpRefusal::UNSUPPORTED);
    }
    let mut body = request.into_body();
    let announced = body
        .size_hint()
        .exact()
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced.is_some_and(|bytes| bytes > MAX_BODY_BYTES) {
        discard(&mut body, deadline).await;
        return Err(HttpRefusal::TOO_LARGE);
    }
    // A body without a length may have any size up to the limit.
    let most = announced.unwrap_or(MAX_BODY_BYTES);
    let mut bytes = Vec::with_capacity(most.min(USUAL_BODY_BYTES));
    let mut hold = None;
    loop {
        let frame = timeout_at(deadline, body.frame()).await;
        let Some(frame) = frame.map_err(|_| HttpRefusal::TOO_SLOW)? else {
            break;
        };
        let frame = frame.map_err(|_| HttpRefusal::BROKE_OFF)?;
        let Some(data) = frame.data_ref() else { continue };
        let length = bytes.len() + data.len();
        if length > most {
            drop((std::mem::take(&mut bytes), hold.take()));
            discard(&mut body, deadline).await;
            return Err(HttpRefusal::TOO_LARGE);
        }
        // Takes all bytes of the body at once: if each of several bodies held only a part, all could wait for ever.
        if length > bytes.capacity() {
            let part = match most <= SMALL_BODY_BYTES {
                true => &account.small_bodies,
                false => &account.large_bodies,
            };
            let taken = timeout_at(deadline, part.take(connection, most)).await;
            hold = taken.map_err(|_| HttpRefusal::BUSY)?;
            bytes.reserve_exact(most - bytes.len());
        }
        bytes.extend_from_slice(data);
    }
    if bytes.is_empty() {
        return Err(HttpRefusal::EMPTY);
    }
    Ok(RequestBody { bytes, _hold: hold })
}

/// Reads and drops the rest for some time: a client that still writes when the connection ends gets an error instead of the
/// answer.
async fn discard(body: &mut Incoming, deadline: Instant) {
    const MAX_DISCARDED_BYTES: usize = 128 * 1024 * 1024;
    const DISCARD_TIMEOUT: Duration = Duration::from_secs(4);
    let _ = timeout_at(deadline.min(Instant::now() + DISCARD_TIMEOUT), async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > MAX_DISCARDED_BYTES {
                return;
            }
        }
    })
    .await;
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
}

/// The bytes of an answer, held until TLS has them.
struct AnswerBytes {
    bytes: Vec<u8>,
    _hold: Option<Hold>,
    connection: Arc<OpenConnection>,
}

impl AsRef<[u8]> for AnswerBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for AnswerBytes {
    fn drop(&mut self) {
        self.connection.handed_over();
    }
}

/// An answer's body. The client's time limit for reading the answer begins now.
pub(super) fn answer_body(connection: &Arc<OpenConnection>, bytes: Vec<u8>, hold: Option<Hold>) -> Full<Bytes> {
    connection.answering();
    Full::new(Bytes::from_owner(AnswerBytes {
        bytes,
        _hold: hold,
        connection: connection.clone(),
    }))
}
