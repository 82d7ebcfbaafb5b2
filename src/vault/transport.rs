//! Requests of Vault's API over one HTTP exchange each: targets, headers, limits, and which connection is not used again.

use std::cell::Cell;

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;

use super::error::{VaultError, VaultErrorKind};
use super::inline_headers::InlineHeaders;
use super::sender::Sender;
use crate::http::{
    Exchange, HttpResponse, KeptConnection, Peer, ResponseHead, TransportError, USER_AGENT, encode_path, trust_ca,
};
use crate::plan::Connection;
use crate::secret::Secret;

/// The longest answer, in bytes.
pub(super) const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// How large all answers of a run may be together, in bytes.
pub(super) const MAX_ANSWERS: usize = 8 * 1024 * 1024;
/// The longest answer that is no success, in bytes.
const MAX_ERROR_ANSWER: usize = 256 * 1024;

const X_VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const X_VAULT_REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const X_VAULT_NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// The state of the storage that the client has already seen. A standby node that is behind refuses the request.
pub(super) const X_VAULT_INDEX: HeaderName = HeaderName::from_static("x-vault-index");

/// A server, and the headers of every request to it.
pub(super) struct Transport {
    peer: Peer,
    headers: HeaderMap,
    sender: Sender,
}

/// A request of the API.
pub(super) struct ApiRequest<'a> {
    pub(super) method: Method,
    /// See [`target`].
    pub(super) target: String,
    /// JSON, or nothing.
    pub(super) body: Bytes,
    pub(super) client_token: Option<&'a Secret>,
    /// The JWT in the body of a login, or in its `inline` headers.
    pub(super) jwt: Option<&'a Secret>,
    /// The login that the request carries in place of a client token.
    pub(super) inline: Option<&'a InlineHeaders>,
    /// See [`X_VAULT_INDEX`].
    pub(super) index: Option<&'a HeaderValue>,
    /// See [`Exchange::repeatable`].
    pub(super) repeatable: bool,
    /// See [`Exchange::sent`].
    pub(super) sent: &'a Cell<bool>,
}

/// An answer of the API, or of something in front of it.
pub(super) struct ApiResponse {
    pub(super) http: HttpResponse,
    /// The answer came without TLS.
    pub(super) in_clear: bool,
    /// The tokens in the request, which no message may hold.
    pub(super) confidential: Vec<Secret>,
}

impl ApiResponse {
    pub(super) fn status(&self) -> u16 {
        self.http.status
    }

    /// Status and content type, for messages.
    pub(super) fn head(&self) -> ResponseHead {
        self.http.head(&self.confidential)
    }
}

impl Transport {
    pub(super) fn new(connection: &Connection, sender: Sender) -> Result<Self, VaultError> {
        let address = &connection.address;
        let tls = match address.is_tls() {
            true => {
                let name = connection.tls_server_name.as_ref();
                let name = name.map_or_else(|| address.host(), |name| name.as_str());
                Some(trust_ca(connection.ca.as_deref(), name)?)
            }
            false => None,
        };
        let text = address.to_string();
        let host = text.split_once("://").map_or(text.as_str(), |(_, host)| host);
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::HOST, header_value(host, "host")?);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(X_VAULT_REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &connection.namespace {
            headers.insert(X_VAULT_NAMESPACE, header_value(namespace.as_str(), "namespace")?);
        }
        Ok(Self {
            peer: Peer::new(address.host(), address.port(), tls),
            headers,
            sender,
        })
    }

    /// Sends the request and waits for the whole answer; see [`Peer::exchange`].
    pub(super) async fn exchange(
        &self,
        kept: &mut KeptConnection,
        request: &ApiRequest<'_>,
    ) -> Result<ApiResponse, TransportError> {
        let how = Exchange {
            repeatable: request.repeatable,
            sent: request.sent,
            max_body: MAX_ANSWER,
            max_error_body: MAX_ERROR_ANSWER,
        };
        let http = self.peer.exchange(kept, &how, || self.build(request)).await?;
        // The node behind this connection may be the wrong one: a node that cannot answer now, a standby that can neither answer
        // nor forward the request (307, 472, 473), or a node that does not know the new config of an auth method yet. The next
        // try resolves the address again.
        let login_refused = request.jwt.is_some() && request.inline.is_none() && !http.is_success();
        if login_refused || matches!(http.status, 307 | 472 | 473 | 500..) {
            kept.close();
        }
        Ok(ApiResponse {
            http,
            in_clear: !self.peer.is_tls(),
            confidential: {
                let sent = request.client_token.into_iter().chain(request.jwt).cloned();
                sent.chain(request.inline.map(InlineHeaders::confidential)).collect()
            },
        })
    }

    fn build(&self, request: &ApiRequest<'_>) -> Result<Request<Full<Bytes>>, TransportError> {
        let mut http = Request::new(Full::new(request.body.clone()));
        *http.method_mut() = request.method.clone();
        *http.uri_mut() = request
            .target
            .parse()
            .map_err(|_| TransportError::Request("its path makes no valid target"))?;
        let headers = http.headers_mut();
        headers.clone_from(&self.headers);
        if let Some(sender) = self.sender.header() {
            headers.insert(X_CORRELATION_ID, sender);
        }
        if !request.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = request.client_token {
            let mut value = HeaderValue::from_bytes(token.expose()).map_err(|_| {
                TransportError::Request("the client token has characters that an HTTP header cannot have")
            })?;
            value.set_sensitive(true);
            headers.insert(X_VAULT_TOKEN, value);
        }
        if let Some(inline) = request.inline {
            inline.add_to(headers);
        }
        if let Some(index) = request.index {
            headers.insert(X_VAULT_INDEX, index.clone());
        }
        Ok(http)
    }
}

/// The plan's parser has checked both values. An error here would be a fault of podkey, and must not be a panic.
fn header_value(text: &str, what: &str) -> Result<HeaderValue, VaultError> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        let message = format!("the connection's {what} has characters that an HTTP header cannot have");
        VaultError::new(VaultErrorKind::Setup, message, "")
    })
}

/// The target of a request: a path of the API below `/v1/`, percent-encoded, with the query for a version.
pub(super) fn target(path: &str, version: Option<u64>) -> String {
    let mut target = String::with_capacity(path.len() + 16);
    target.push_str("/v1/");
    target.extend(encode_path(path));
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
