//! Bodies: a request's, whose bytes are taken from the account before they are allocated, and an answer's, which gives its
//! bytes back when the last of them is with TLS.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::time::timeout;

use super::account::{Account, Hold};
use super::limits::{MAX_BODY_BYTES, SMALL_BODY_BYTES, USUAL_BODY_BYTES};
use super::places::Connection;

/// A request that gets an HTTP error rather than an AdmissionReview.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str);

/// A request's body, and its part of the account.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    _hold: Option<Hold>,
}

/// Reads all of a body.
pub(super) async fn read(
    account: &Account,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Body, Refusal> {
    const TOO_LARGE: Refusal = Refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 8 MiB");
    if !is_json(request.headers()) {
        return Err(Refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be application/json",
        ));
    }
    let mut body = request.into_body();
    let announced = body
        .size_hint()
        .exact()
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced.is_some_and(|bytes| bytes > MAX_BODY_BYTES) {
        discard(&mut body).await;
        return Err(TOO_LARGE);
    }
    // Without an announcement it may become as large as any.
    let most = announced.unwrap_or(MAX_BODY_BYTES);
    let mut bytes = Vec::with_capacity(most.min(USUAL_BODY_BYTES));
    let mut hold = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal(StatusCode::BAD_REQUEST, "the body broke off"))?;
        let Some(data) = frame.data_ref() else { continue };
        let length = bytes.len() + data.len();
        if length > most {
            drop((std::mem::take(&mut bytes), hold.take()));
            discard(&mut body).await;
            return Err(TOO_LARGE);
        }
        // Who has sent so much means to send the rest: all of it is taken at once, because bodies that wait for each other's
        // last bytes would wait for ever.
        if length > bytes.capacity() {
            let part = match most <= SMALL_BODY_BYTES {
                true => &account.small_bodies,
                false => &account.large_bodies,
            };
            hold = part.take(connection, most).await;
            bytes.reserve_exact(most - bytes.len());
        }
        bytes.extend_from_slice(data);
    }
    if bytes.is_empty() {
        return Err(Refusal(StatusCode::BAD_REQUEST, "the body is empty"));
    }
    Ok(Body { bytes, _hold: hold })
}

/// Reads on without keeping anything, for a while: a client that is cut off while it still writes sees a broken connection
/// rather than the reason.
async fn discard(body: &mut Incoming) {
    const MOST_BYTES: usize = 128 * 1024 * 1024;
    const LONGEST: Duration = Duration::from_secs(4);
    let _ = timeout(LONGEST, async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > MOST_BYTES {
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

/// An answer's bytes until they are written.
struct Outgoing {
    bytes: Vec<u8>,
    _hold: Option<Hold>,
    connection: Arc<Connection>,
}

impl AsRef<[u8]> for Outgoing {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.connection.handed_over();
    }
}

/// An answer's body. From now on the client has its time to take it.
pub(super) fn outgoing(connection: &Arc<Connection>, bytes: Vec<u8>, hold: Option<Hold>) -> Full<Bytes> {
    connection.answering();
    Full::new(Bytes::from_owner(Outgoing {
        bytes,
        _hold: hold,
        connection: connection.clone(),
    }))
}
