//! One exchange: send a request, and receive the whole answer, within a time limit and a size limit. A connection can be kept
//! for the next request.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use ::http::header::{self, HeaderMap};
use ::http::{HeaderName, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::error::TransportError;
use super::peer::{Peer, from_hyper};
use super::redact::{clean, redact};
use crate::secret::Secret;

/// How long one request may take, from the connection to the end of the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The header `User-Agent` of every request.
pub(crate) const USER_AGENT: &str = concat!("podkey/", env!("CARGO_PKG_VERSION"));
/// A firewall or load balancer may have dropped a connection that was idle for longer, without a word to podkey.
const REUSE: Duration = Duration::from_secs(5);
/// How long the server may pause within the body of an answer.
const BODY_PAUSE: Duration = Duration::from_secs(10);

/// An open connection for the next request, or none.
#[derive(Default)]
pub(crate) struct KeptConnection(Option<(SendRequest<Full<Bytes>>, Instant)>);

impl KeptConnection {
    /// The next request opens a new connection.
    pub(crate) fn close(&mut self) {
        self.0 = None;
    }

    /// The connection, if it is open and was used within [`REUSE`].
    fn take_fresh(&mut self) -> Option<SendRequest<Full<Bytes>>> {
        let (sender, used) = self.0.take()?;
        (!sender.is_closed() && used.elapsed() < REUSE).then_some(sender)
    }
}

/// How one request may be sent.
pub(crate) struct Exchange<'a> {
    /// The server may carry out the request twice without harm.
    pub(crate) repeatable: bool,
    /// Set to true while the server may have received the request, or parts of it. Stays true if the exchange is dropped then.
    pub(crate) sent: &'a Cell<bool>,
    /// The longest body of a success, in bytes.
    pub(crate) max_body: usize,
    /// The longest body of any other answer, in bytes. A longer one is dropped, and the answer comes without a body.
    pub(crate) max_error_body: usize,
}

/// A whole answer.
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl HttpResponse {
    /// Whether the status is 200 to 299.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Status and content type for messages, without `confidential`.
    pub(crate) fn head(&self, confidential: &[Secret]) -> ResponseHead {
        let content_type = redact(self.header(header::CONTENT_TYPE), confidential);
        ResponseHead {
            status: self.status,
            content_type: clean(&content_type, 80),
        }
    }

    /// The value of a header. Empty where there is none, or where it is not ASCII.
    pub(crate) fn header(&self, name: HeaderName) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }
}

/// The status and the content type of an answer, as messages show them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    /// The status code.
    pub(crate) status: u16,
    /// The content type, cut. Empty where there is none.
    pub(crate) content_type: String,
}

impl fmt::Display for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content_type = match self.content_type.as_str() {
            "" => "no content type",
            known => known,
        };
        write!(f, "status {} ({content_type})", self.status)
    }
}

impl Peer {
    /// Sends a request and waits for the whole answer, at most [`REQUEST_TIMEOUT`]. `request` builds the request: once for each
    /// connection.
    ///
    /// The server may have closed a kept connection in the meantime. The request then goes over a new connection, unless the
    /// server may have received it and must not receive it twice.
    pub(crate) async fn exchange(
        &self,
        kept: &mut KeptConnection,
        how: &Exchange<'_>,
        request: impl Fn() -> Result<Request<Full<Bytes>>, TransportError>,
    ) -> Result<HttpResponse, TransportError> {
        let outcome = timeout(REQUEST_TIMEOUT, self.exchange_within(kept, how, request))
            .await
            .unwrap_or(Err(TransportError::TimedOut("the request", REQUEST_TIMEOUT)));
        if outcome.is_err() {
            kept.close();
        }
        outcome
    }

    async fn exchange_within(
        &self,
        kept: &mut KeptConnection,
        how: &Exchange<'_>,
        request: impl Fn() -> Result<Request<Full<Bytes>>, TransportError>,
    ) -> Result<HttpResponse, TransportError> {
        let mut sender = kept.take_fresh();
        loop {
            let reused = sender.is_some();
            let mut open = match sender.take() {
                Some(open) => open,
                None => self.connect().await?,
            };
            let request = request()?;
            how.sent.set(true);
            let response = match open.try_send_request(request).await {
                Ok(response) => response,
                Err(refused) => {
                    // hyper returns the request if it has written none of it.
                    how.sent.set(refused.message().is_none());
                    // Nothing came back on a connection that had served before: the server closed it in between.
                    if reused && !refused.error().is_parse() && (how.repeatable || !how.sent.get()) {
                        continue;
                    }
                    return Err(from_hyper(refused.error()));
                }
            };
            let (parts, body) = response.into_parts();
            let success = parts.status.is_success();
            let limit = if success { how.max_body } else { how.max_error_body };
            let body = match receive(body, limit).await {
                Ok(body) => body,
                // The status matters more than the reason in the body.
                Err(_) if !success => Zeroizing::default(),
                Err(error) => return Err(error),
            };
            kept.0 = Some((open, Instant::now()));
            return Ok(HttpResponse {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
            });
        }
    }
}

/// Receives a whole body of at most `limit` bytes.
async fn receive(mut body: Incoming, limit: usize) -> Result<Zeroizing<Vec<u8>>, TransportError> {
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > limit as u64 {
        return Err(TransportError::TooLarge(limit));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(announced as usize));
    loop {
        let frame = match timeout(BODY_PAUSE, body.frame()).await {
            Err(_) => return Err(TransportError::TimedOut("a pause within the answer", BODY_PAUSE)),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(error))) => return Err(from_hyper(&error)),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limit {
                return Err(TransportError::TooLarge(limit));
            }
            make_room(&mut bytes, data.len(), limit);
            bytes.extend_from_slice(data);
        }
    }
}

/// Makes room for `more` bytes. Where the server announced no length, the buffer grows in few large steps: a buffer that doubles
/// leaves freed blocks of every size behind, together as large as the buffer.
fn make_room(bytes: &mut Vec<u8>, more: usize, limit: usize) {
    const FIRST: usize = 64 * 1024;
    const STEP: usize = 8;
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let room = (bytes.capacity() * STEP).max(FIRST).min(limit).max(needed);
        bytes.reserve_exact(room - bytes.len());
    }
}
