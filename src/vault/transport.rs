//! One exchange with Vault: send, and receive the whole answer. Knows nothing of Vault but its headers, follows no redirect,
//! and reads no environment.

use std::cell::Cell;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::error::{TransportError, VaultError};
use super::peer::{Peer, from_hyper, receive};
use super::trust;
use crate::plan::Connection;
use crate::secret::Secret;

pub(super) const REQUEST: Duration = Duration::from_secs(30);
/// A connection idle for longer may have been forgotten by something in between.
const REUSE: Duration = Duration::from_secs(5);

/// One answer, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// An answer that is no success: what is longer is not read.
const MAX_REFUSAL: usize = 256 * 1024;

const X_VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const X_VAULT_REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const X_VAULT_NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// Tells a standby node what the client has already seen.
pub(super) const X_VAULT_INDEX: HeaderName = HeaderName::from_static("x-vault-index");

/// How to reach the server.
pub(super) struct Transport {
    peer: Peer,
    /// On every request.
    headers: HeaderMap,
}

/// What to send.
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    /// Begins with `/v1/`, percent-encoded.
    pub(super) target: String,
    pub(super) body: Bytes,
    pub(super) token: Option<&'a Secret>,
    /// The token to log in with that is in the body.
    pub(super) jwt: Option<&'a Secret>,
    pub(super) index: Option<&'a HeaderValue>,
    /// To have it carried out twice leaves nothing behind.
    pub(super) repeatable: bool,
    /// Set while the server may have it, or parts of it. Outlasts an exchange that is dropped half-way.
    pub(super) sent: &'a Cell<bool>,
}

/// What came back.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// It came without TLS.
    pub(super) in_clear: bool,
    /// What the request had in it that no message may have.
    pub(super) confidential: Vec<Secret>,
}

/// An open connection, or the place for one.
#[derive(Default)]
pub(super) struct Link(Option<(SendRequest<Full<Bytes>>, tokio::time::Instant)>);

impl Link {
    /// The next request goes over a new connection.
    pub(super) fn drop_connection(&mut self) {
        self.0 = None;
    }
}

impl Transport {
    pub(super) fn new(connection: &Connection) -> Result<Self, VaultError> {
        let address = &connection.address;
        let tls = match address.is_tls() {
            true => Some(trust::connector(connection)?),
            false => None,
        };
        let mut headers = HeaderMap::with_capacity(8);
        let text = address.to_string();
        let host = text.split_once("://").map_or(text.as_str(), |(_, host)| host);
        // Both were checked when the plan was read; an error here would be ours, but it must be no panic.
        let value = |text: &str, what: &str| {
            HeaderValue::from_bytes(text.as_bytes())
                .map_err(|_| VaultError::new(super::Kind::Setup, format!("the {what} fits into no HTTP header"), ""))
        };
        headers.insert(header::HOST, value(host, "connection's host")?);
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("podkey/", env!("CARGO_PKG_VERSION"))),
        );
        headers.insert(X_VAULT_REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &connection.namespace {
            headers.insert(X_VAULT_NAMESPACE, value(namespace.as_str(), "connection's namespace")?);
        }
        Ok(Self {
            peer: Peer::new(address.host(), address.port(), tls),
            headers,
        })
    }

    /// See [`super::Vault::correlated`].
    pub(super) fn correlate(&mut self, text: &str) {
        if let Ok(value) = HeaderValue::from_str(text) {
            self.headers.insert(X_CORRELATION_ID, value);
        }
    }

    /// Sends the request and waits for the whole answer. A connection that turns out to have been closed while it was
    /// idle is replaced once, silently, unless the server may have the request and must not get it twice.
    pub(super) async fn exchange(&self, link: &mut Link, out: &Outgoing<'_>) -> Result<Answered, TransportError> {
        let outcome = timeout(REQUEST, self.exchange_within(link, out))
            .await
            .unwrap_or(Err(TransportError::TimedOut("the request", REQUEST)));
        if outcome.is_err() {
            link.drop_connection();
        }
        outcome
    }

    async fn exchange_within(&self, link: &mut Link, out: &Outgoing<'_>) -> Result<Answered, TransportError> {
        let mut sender = match link.0.take() {
            Some((sender, used)) if !sender.is_closed() && used.elapsed() < REUSE => Some(sender),
            _ => None,
        };
        loop {
            let reused = sender.is_some();
            let mut open = match sender.take() {
                Some(open) => open,
                None => self.peer.connect().await?,
            };
            let request = self.request(out)?;
            out.sent.set(true);
            let response = match open.try_send_request(request).await {
                Ok(response) => response,
                Err(refused) => {
                    // What hyper gives back has not been written.
                    out.sent.set(refused.message().is_none());
                    // Nothing came back on a connection that had served before: the server closed it in between.
                    if reused && !refused.error().is_parse() && (out.repeatable || !out.sent.get()) {
                        continue;
                    }
                    return Err(from_hyper(refused.error()));
                }
            };
            let (parts, body) = response.into_parts();
            let success = parts.status.is_success();
            let limit = if success { MAX_ANSWER } else { MAX_REFUSAL };
            let body = match receive(body, limit).await {
                Ok(body) => body,
                // Why a request failed is worth less than that it failed.
                Err(_) if !success => Zeroizing::default(),
                Err(error) => return Err(error),
            };
            // A node that cannot answer now, a standby that can neither answer nor pass the request on (307, 472, 473), or one that
            // knows an auth method's new config later than the others, may be the wrong one: the next try looks the address up again.
            let login_refused = out.jwt.is_some() && !success;
            if !login_refused && !matches!(parts.status.as_u16(), 307 | 472 | 473 | 500..) {
                link.0 = Some((open, tokio::time::Instant::now()));
            }
            return Ok(Answered {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
                in_clear: !self.peer.is_tls(),
                confidential: out.token.into_iter().chain(out.jwt).cloned().collect(),
            });
        }
    }

    fn request(&self, out: &Outgoing<'_>) -> Result<Request<Full<Bytes>>, TransportError> {
        let mut request = Request::new(Full::new(out.body.clone()));
        *request.method_mut() = out.method.clone();
        *request.uri_mut() = out
            .target
            .parse()
            .map_err(|_| TransportError::Request("its path makes no valid target"))?;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        if !out.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = out.token {
            let mut value = HeaderValue::from_bytes(token.expose())
                .map_err(|_| TransportError::Request("the client token fits into no header"))?;
            value.set_sensitive(true);
            headers.insert(X_VAULT_TOKEN, value);
        }
        if let Some(index) = out.index {
            headers.insert(X_VAULT_INDEX, index.clone());
        }
        Ok(request)
    }
}

/// A path of the API below `/v1/`, each segment percent-encoded.
pub(super) fn target(path: &str, version: Option<u64>) -> String {
    let mut target = String::with_capacity(path.len() + 16);
    target.push_str("/v1/");
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => target.push(char::from(byte)),
            _ => target.push_str(&format!("%{byte:02X}")),
        }
    }
    if let Some(version) = version {
        target.push_str(&format!("?version={version}"));
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_segment_that_means_something_in_a_url_is_encoded() {
        assert_eq!(
            target("kv/data/a b$(X)&ä", Some(3)),
            "/v1/kv/data/a%20b%24%28X%29%26%C3%A4?version=3"
        );
        assert_eq!(target("a/...;=+", None), "/v1/a/...%3B%3D%2B");
    }
}
