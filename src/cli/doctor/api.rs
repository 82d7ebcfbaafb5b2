//! Requests to the API server. Objects stay the JSON that the server knows, so that no field is lost in a type; kube would also drop
//! the admission warnings, which are in headers.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use serde_json::Value;
use tokio::time::timeout;

use super::words::clean;
use crate::cli::cause::innermost;
use crate::cli::kubeconfig::KubeClient;

/// The time limit of one request, from the connection to the answer's last byte.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer. The API server stores no object that is larger than half of this.
const MAX_ANSWER_BYTES: usize = 3 * 1024 * 1024;

/// An answer of success.
pub(super) struct Answer {
    pub(super) object: Value,
    /// The texts of the headers `Warning`.
    pub(super) warnings: Vec<String>,
}

/// Why there is no such answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    /// The user lacks a right, or an admission plugin refuses the object. The message is the API server's.
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    /// Any other answer but success.
    #[error("{status}: {message}")]
    Status { status: StatusCode, message: String },
    /// An error that is no `Status` object. The API server answers so only to a path that it does not know: [`ApiError::NotFound`].
    #[error("status {0}, but not as the API server answers: this is no API server, or a proxy answered")]
    Foreign(StatusCode),
    /// No answer, or an answer that is not an object in JSON.
    #[error("{0}")]
    NoAnswer(String),
}

/// Reads an object or a list.
pub(super) async fn get(cluster: &KubeClient, path: &str) -> Result<Value, ApiError> {
    let request = Request::get(path).body(Body::empty());
    send(cluster, request).await.map(|answer| answer.object)
}

/// Creates an object. The doctor does this only where nothing is stored: dry runs and reviews.
pub(super) async fn post(cluster: &KubeClient, path: &str, object: &Value) -> Result<Answer, ApiError> {
    let request = Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
    send(cluster, request.body(Body::from(object.to_string().into_bytes()))).await
}

/// A name as a part of a path.
pub(super) fn segment(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

async fn send(cluster: &KubeClient, request: http::Result<Request<Body>>) -> Result<Answer, ApiError> {
    let request = request.map_err(|error| ApiError::NoAnswer(error.to_string()))?;
    let Ok(answer) = timeout(REQUEST_TIMEOUT, exchange(cluster, request)).await else {
        let limit = humantime::format_duration(REQUEST_TIMEOUT);
        return Err(ApiError::NoAnswer(format!("no answer within {limit}")));
    };
    answer
}

async fn exchange(cluster: &KubeClient, request: Request<Body>) -> Result<Answer, ApiError> {
    let answer = cluster.client.send(request).await;
    let (head, body) = answer
        .map_err(|error| ApiError::NoAnswer(innermost(&error)))?
        .into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let bytes = body.map_err(|error| ApiError::NoAnswer(error.to_string()))?.to_bytes();
    let object: Option<Value> = serde_json::from_slice(&bytes).ok();
    let warnings = head.headers.get_all(http::header::WARNING).into_iter();
    let warnings = warnings.filter_map(|value| warning(&String::from_utf8_lossy(value.as_bytes())));
    if head.status.is_success() {
        let object = object.ok_or_else(|| ApiError::NoAnswer("the answer is not JSON".to_owned()))?;
        let warnings = warnings.collect();
        return Ok(Answer { object, warnings });
    }
    let is_status = object.as_ref().is_some_and(|object| object["kind"] == "Status");
    let message = object.as_ref().and_then(|object| object["message"].as_str());
    let message = clean(message.unwrap_or("no message"));
    Err(match head.status {
        status if !is_status && status != StatusCode::NOT_FOUND => ApiError::Foreign(status),
        StatusCode::FORBIDDEN => ApiError::Forbidden(message),
        StatusCode::NOT_FOUND => ApiError::NotFound(message),
        status => ApiError::Status { status, message },
    })
}

/// The text of a header `Warning: 299 - "text"` (RFC 9111, section 5.5).
fn warning(header: &str) -> Option<String> {
    let quoted = header.split_once('"')?.1;
    let mut text = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => text.extend(chars.next()),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_warning_header_is_what_the_webhook_wrote() {
        assert_eq!(
            warning(r#"299 - "pod: say \"vault\", or C:\\x""#).as_deref(),
            Some(r#"pod: say "vault", or C:\x"#)
        );
        assert_eq!(warning("299 - no quotes"), None);
        assert_eq!(warning(r#"299 - "no end"#), None);
    }

    #[test]
    fn a_name_cannot_lead_to_another_object() {
        assert_eq!(segment("web-0.example"), "web-0.example");
        assert_eq!(segment("../nodes?x=ä"), "..%2Fnodes%3Fx%3D%C3%A4");
    }
}
