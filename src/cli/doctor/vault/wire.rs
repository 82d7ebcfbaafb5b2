//! The requests to the server: vaultrs' request types where they exist, sent within limits. vaultrs' own client has no limits. It
//! follows redirects with the token, reads answers of any size, panics on a token that is no header, and logs each failure.

use std::time::Duration;

use async_trait::async_trait;
use http::header::{HOST, HeaderName, HeaderValue};
use http::{Request, Response, Uri};
use rustify::client::Client;
use rustify::endpoint::{Endpoint, MiddleWare};
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::text::visible_line;

/// The time for one request.
pub(super) const REQUEST: Duration = Duration::from_secs(10);
/// The largest answer, in bytes. A list of thousands of mounts is smaller.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// The longest text of a server in a message, in characters.
const MAX_SHOWN_CHARS: usize = 300;

/// A connection to the server, without a token.
pub(super) struct Wire {
    http: reqwest::Client,
    base: String,
    /// The `Host` of each request.
    host: String,
}

/// A request that vaultrs has no type for.
struct Call<'a> {
    method: RequestMethod,
    path: &'a str,
    query: Option<String>,
    body: Option<Value>,
}

/// Who asks, and where.
pub(super) struct Caller<'a> {
    pub(super) wire: &'a Wire,
    pub(super) namespace: Option<String>,
    pub(super) token: Option<Zeroizing<String>>,
}

/// An answer of the server, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Null: the body is not JSON.
    pub(super) body: Value,
}

impl Wire {
    pub(super) fn new(http: reqwest::Client, base: String, host: String) -> Self {
        Self { http, base, host }
    }
}

#[async_trait]
impl Client for Wire {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        let request =
            reqwest::Request::try_from(request).map_err(|source| ClientError::ReqwestBuildError { source })?;
        let failed = |source: reqwest::Error| ClientError::ResponseError { source: source.into() };
        let mut response = self.http.execute(request).await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                let source = std::io::Error::other("the answer is too large").into();
                return Err(ClientError::ResponseError { source });
            }
            body.extend_from_slice(&chunk);
        }
        Response::builder()
            .status(response.status())
            .body(body)
            .map_err(|error| ClientError::ResponseError { source: error.into() })
    }

    fn base(&self) -> &str {
        &self.base
    }

    /// As the trait's own, but every status is an answer.
    async fn execute(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        self.send(request).await
    }
}

impl Endpoint for Call<'_> {
    type Response = Value;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.to_owned()
    }

    fn method(&self) -> RequestMethod {
        self.method.clone()
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        Ok(self.query.clone())
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(self.body.as_ref().map(|body| body.to_string().into_bytes()))
    }
}

impl MiddleWare for Caller<'_> {
    fn request<E: Endpoint>(&self, _: &E, request: &mut Request<Vec<u8>>) -> Result<(), ClientError> {
        let uri = request.uri();
        let target = format!("{}v1/{}", self.wire.base, {
            let path = uri.path_and_query().map_or("", |path| path.as_str());
            path.trim_start_matches('/')
        });
        *request.uri_mut() = target
            .parse::<Uri>()
            .map_err(|source| ClientError::UrlBuildError { source })?;
        let headers = request.headers_mut();
        let mut add = |name: HeaderName, text: &str, secret: bool| {
            let value = HeaderValue::from_str(text);
            let mut value = value.map_err(|error| ClientError::GenericError { source: error.into() })?;
            value.set_sensitive(secret);
            headers.insert(name, value);
            Ok::<_, ClientError>(())
        };
        add(HOST, &self.wire.host, false)?;
        add(HeaderName::from_static("x-vault-request"), "true", false)?;
        if let Some(namespace) = &self.namespace {
            add(HeaderName::from_static("x-vault-namespace"), namespace, false)?;
        }
        if let Some(token) = &self.token {
            add(HeaderName::from_static("x-vault-token"), token, true)?;
        }
        Ok(())
    }

    fn response<E: Endpoint>(&self, _: &E, _: &mut Response<Vec<u8>>) -> Result<(), ClientError> {
        Ok(())
    }
}

impl<'a> Caller<'a> {
    /// The same way with another token.
    pub(super) fn with_token(&self, token: Option<Zeroizing<String>>) -> Self {
        Self {
            wire: self.wire,
            namespace: self.namespace.clone(),
            token,
        }
    }

    /// Sends a request. The error is one of the connection.
    pub(super) async fn ask(&self, request: impl Endpoint) -> Result<Answer, ClientError> {
        let answer = request.with_middleware(self).exec(self.wire).await?.response;
        Ok(Answer {
            status: answer.status().as_u16(),
            body: serde_json::from_slice(answer.body()).unwrap_or(Value::Null),
        })
    }

    /// Reads a path.
    pub(super) async fn read(&self, path: &str) -> Result<Answer, ClientError> {
        self.call(RequestMethod::GET, path, None, None).await
    }

    /// Reads a version of a path.
    pub(super) async fn read_version(&self, path: &str, version: Option<u64>) -> Result<Answer, ClientError> {
        let query = version.map(|version| format!("version={version}"));
        self.call(RequestMethod::GET, path, query, None).await
    }

    /// The names below a path.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<String>, ClientError> {
        let answer = self.call(RequestMethod::LIST, path, None, None).await?;
        Ok(texts(&answer.data()["keys"]))
    }

    /// As [`Self::list`]. None: the caller may not list.
    pub(super) async fn names(&self, path: &str) -> Option<Vec<String>> {
        let answer = self.call(RequestMethod::LIST, path, None, None).await.ok()?;
        match answer.status {
            200 => Some(texts(&answer.data()["keys"])),
            404 => Some(Vec::new()),
            _ => None,
        }
    }

    pub(super) async fn write(&self, path: &str, body: Value) -> Result<Answer, ClientError> {
        self.call(RequestMethod::POST, path, None, Some(body)).await
    }

    async fn call(
        &self,
        method: RequestMethod,
        path: &str,
        query: Option<String>,
        body: Option<Value>,
    ) -> Result<Answer, ClientError> {
        if !is_path(path) {
            let source = anyhow::anyhow!("{} is no path of the server", shown(path));
            return Err(ClientError::GenericError { source });
        }
        let call = Call {
            method,
            path,
            query,
            body,
        };
        self.ask(call).await
    }
}

impl Answer {
    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The data of the answer. Null: there is none.
    pub(super) fn data(&self) -> &Value {
        &self.body["data"]
    }

    /// The server's errors on one line.
    pub(super) fn errors(&self) -> String {
        let errors = texts(&self.body["errors"]);
        match errors.is_empty() {
            true => format!("status {}", self.status),
            false => shown(&errors.join("; ")),
        }
    }
}

/// Whether a URL has this path as it is: no part of it is a query, and none leads upwards.
fn is_path(path: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && !r#"?#%\<>"`^{}|"#.contains(c);
    path.chars().all(is_plain) && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// The texts of a list. Nothing else is in the result.
pub(super) fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// Another program's text for a message: on one line, short, and without characters that steer a terminal.
pub(super) fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    visible_line(&words.join(" ").replace("1 error occurred: * ", ""), MAX_SHOWN_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_lead_to_another_path() {
        assert!(is_path("sys/policies/acl/team-a_1") && is_path("kv/metadata/"));
        for path in [
            "sys/policies/acl/../../mounts",
            "auth/k/role/x?list=true",
            "a#b",
            "a b",
            "a/%2e%2e/b",
        ] {
            assert!(!is_path(path), "{path}");
        }
    }

    #[test]
    fn a_servers_text_cannot_steer_the_terminal() {
        let text = shown("1 error occurred:\n\t* \u{1b}]0;title\u{7}denied\n\n");
        assert_eq!(text, "\\u{1b}]0;title\\u{7}denied");
        assert!(shown(&"x".repeat(5000)).chars().count() <= MAX_SHOWN_CHARS + 1);
    }
}
