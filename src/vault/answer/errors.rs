//! Answers that are no success.

use std::time::Duration;

use ::http::header;

use super::warnings::{fit_for_messages, list};
use super::{Envelope, envelope, gone, kv_v2};
use crate::vault::error_response::{ErrorResponse, Meaning};
use crate::vault::transport::ApiResponse;

/// Whether the body of a success is one of the API, whatever it holds. An empty 204 is.
pub(in crate::vault) fn is_of_the_api(answer: &ApiResponse) -> bool {
    let known = |envelope: Envelope<'_>| {
        let parts = [envelope.data, envelope.auth, envelope.warnings];
        parts.iter().any(Option::is_some) || envelope.lease_id.is_some()
    };
    answer.status() == 204 || envelope(&answer.http.body).is_ok_and(known)
}

/// What the classification needs of an answer that is no success. `path` is the path that was read, or empty.
pub(in crate::vault) fn error_response(answer: &ApiResponse, path: &str) -> ErrorResponse {
    let mut response = ErrorResponse {
        head: answer.head(),
        retry_after: answer
            .http
            .header(header::RETRY_AFTER)
            .parse()
            .ok()
            .map(Duration::from_secs),
        ..ErrorResponse::default()
    };
    let Ok(envelope) = envelope(&answer.http.body) else {
        // The server answers most writes with 204 and no body.
        response.from_vault = answer.status() == 204;
        response.meaning = meaning_without_json(answer);
        return response;
    };
    let (errors, warnings) = (list(envelope.errors), list(envelope.warnings));
    response.gone = envelope
        .data
        .and_then(|data| kv_v2(path, data.get()))
        .filter(|secret| secret.data.is_none())
        .map(|secret| gone(&secret.metadata));
    // The JSON of a gateway has none of these three.
    response.from_vault = errors.is_some() || warnings.is_some() || response.gone.is_some();
    response.errors = fit_for_messages(errors, &answer.confidential);
    response.warnings = fit_for_messages(warnings, &answer.confidential);
    response
}

/// The meaning of texts that Go's HTTP server, nginx, and the server's own metrics listener send without JSON.
fn meaning_without_json(answer: &ApiResponse) -> Option<Meaning> {
    const LOOKED_AT: usize = 4096;
    let (status, body) = (answer.status(), &answer.http.body);
    let body = String::from_utf8_lossy(body.get(..LOOKED_AT).unwrap_or(body));
    let says = |text: &str| body.contains(text);
    let of_tls_port = says("HTTP request to an HTTPS server") || says("HTTP request was sent to HTTPS port");
    match status {
        400 if answer.in_clear && (of_tls_port || answer.http.headers.is_empty()) => Some(Meaning::WantsTls),
        400 if of_tls_port => Some(Meaning::WantsTlsBehind),
        400 | 495 | 496 if says("SSL certificate was sent") || says("SSL certificate error") => {
            Some(Meaning::WantsClientCertificate)
        }
        404 if says("this listener only serves the metrics endpoint") => Some(Meaning::MetricsListener),
        _ => None,
    }
}
