//! Requests a reload from the app, by HTTP on the loopback address.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Method, Request};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ActionError;
use crate::plan::LoopbackUrl;

/// How long one request may take, from the connection to the head of the answer.
const REQUEST: Duration = Duration::from_secs(10);

/// Sends a POST without a body. Returns the status, for the log. Only a status of 2xx is a success: a redirect is not.
pub(super) async fn post(url: &LoopbackUrl) -> Result<String, ActionError> {
    timeout(REQUEST, request(url)).await.unwrap_or_else(|_| {
        let why = format!("no answer within {}", humantime::format_duration(REQUEST));
        Err(ActionError::new(why, ""))
    })
}

/// Only the status of the answer is read.
async fn request(url: &LoopbackUrl) -> Result<String, ActionError> {
    let failed =
        |error: &dyn fmt::Display| ActionError::new(error.to_string(), "does the app listen on the loopback address?");
    let stream = TcpStream::connect(url.address())
        .await
        .map_err(|error| failed(&error))?;
    let (mut sender, connection) = http1::Builder::new()
        // Limits the head of the answer.
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(url.target())
        .header(header::HOST, url.address().to_string())
        // Without this header some servers wait for a body, or answer 411.
        .header(header::CONTENT_LENGTH, 0)
        .header(header::USER_AGENT, HeaderValue::from_static(crate::http::USER_AGENT))
        .body(Empty::<Bytes>::new())
        .map_err(|_| ActionError::new("the path of the URL is not valid in a request", ""))?;
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // When the connection ends without an answer, the wait ends too.
        _ = connection => answer.await,
    };
    let status = answer.map_err(|error| failed(&error))?.status();
    match status.is_success() {
        true => Ok(format!("status {}", status.as_u16())),
        false => Err(ActionError::new(
            format!("the app answered with status {}", status.as_u16()),
            "",
        )),
    }
}
