//! The check of the API server's answer, before kube reads the answer: clock, status, size.
//!
//! kube logs a body that it cannot parse, also the body of an error. Therefore kube never gets the body of an error, and
//! [`crate::telemetry`] turns off the log of kube and of the libraries below kube.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use kube::client::DynBody;
use serde::Deserialize;
use tower::BoxError;

use super::CLOCK_ERROR;

/// The longest answer. The API server stores no object that is larger than half of this.
const MAX_ANSWER_BYTES: usize = 3 * 1024 * 1024;
/// The longest message of an error; the rest is cut.
const MAX_MESSAGE_CHARS: usize = 400;

/// A body with a limit on its size.
pub(super) type JudgedBody = UnsyncBoxBody<Bytes, BoxError>;

/// Why an answer is not passed to kube.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum AnswerError {
    #[error(
        "the clock here says {here}, the API server's {there}. Set the clock of this pod's node right",
        here = humantime::format_rfc3339_seconds(*here),
        there = humantime::format_rfc3339_seconds(*there)
    )]
    Clock { here: SystemTime, there: SystemTime },
    /// Any status but success, with the API server's own message.
    #[error("{status}: {message}")]
    Status { status: StatusCode, message: String },
}

/// The `Status` object of the API server's errors
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>).
#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    message: String,
}

/// Passes a successful answer on, with a limit on its size.
pub(super) async fn judge(response: Response<Box<DynBody>>, now: SystemTime) -> Result<Response<JudgedBody>, BoxError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).boxed_unsync();
    // With a larger difference, a replica would replace the shared CA again and again, and would remove from the caBundle the CA
    // that the other replicas need.
    if let Some(there) = date(&head.headers).filter(|there| difference(*there, now) > CLOCK_ERROR) {
        return Err(AnswerError::Clock { here: now, there }.into());
    }
    if head.status.is_success() {
        return Ok(Response::from_parts(head, body));
    }
    let bytes = body.collect().await?.to_bytes();
    let ErrorBody { message } = serde_json::from_slice(&bytes).unwrap_or_default();
    Err(AnswerError::Status {
        status: head.status,
        message: message
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_MESSAGE_CHARS)
            .collect(),
    }
    .into())
}

/// The server's time, from the header `Date`.
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()
}

fn difference(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    const DAY: Duration = Duration::from_secs(86400);

    async fn judged(status: u16, body: &str, date: SystemTime, now: SystemTime) -> Result<Bytes, BoxError> {
        let body = Full::new(Bytes::from(body.to_owned())).map_err(BoxError::from);
        let response = Response::builder()
            .status(status)
            .header(header::DATE, httpdate::fmt_http_date(date))
            .body(Box::new(body) as Box<DynBody>)
            .unwrap();
        Ok(judge(response, now).await?.into_body().collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn no_call_succeeds_if_the_clocks_differ_by_more_than_45_days() {
        let now = SystemTime::now();
        for near in [now - 44 * DAY, now + 44 * DAY] {
            assert_eq!(judged(200, "{}", now, near).await.unwrap(), "{}");
        }
        for far in [now - 46 * DAY, now + 46 * DAY, SystemTime::UNIX_EPOCH] {
            let error = judged(200, "{}", now, far).await.unwrap_err();
            assert!(error.to_string().contains("Set the clock"), "{error}");
        }
    }

    #[tokio::test]
    async fn only_the_message_of_an_error_is_kept_and_the_message_is_short_and_on_one_line() {
        let now = SystemTime::now();
        let long = format!("{{\"message\":\"a\\n{}\"}}", "b".repeat(1000));
        for (body, expected) in [
            ("canary", String::new()),
            (r#"{"message":"no","other":"canary"}"#, "no".to_owned()),
            (&long, format!("a{}", "b".repeat(MAX_MESSAGE_CHARS - 1))),
        ] {
            let error = judged(500, body, now, now).await.unwrap_err();
            let error = error.downcast_ref::<AnswerError>().unwrap();
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            assert_eq!(
                *error,
                AnswerError::Status {
                    status,
                    message: expected
                }
            );
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let now = SystemTime::now();
        let long = "x".repeat(MAX_ANSWER_BYTES + 1);
        for status in [200, 500] {
            let error = judged(status, &long, now, now).await.unwrap_err();
            assert!(error.is::<http_body_util::LengthLimitError>(), "{error}");
        }
    }
}
