//! The door of the fuzz target `answer`: what a server, or something in front of the server, answers.

#![allow(clippy::panic, reason = "a fuzz target panics if a law is broken")]

use std::time::Duration;

use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::answer::{Reading, auth, error_response, is_of_the_api, reading, renewed_lease, renewed_token};
use super::classify::{Operation, classify};
use super::failed_try::FailedTry;
use super::lifetime::ssh_end;
use super::mount::EngineMount;
use super::transport::ApiResponse;
use super::wanted::Wanted;
use crate::http::{HttpResponse, RetryDecision};
use crate::plan::ApiPath;
use crate::secret::Secret;

/// The token in the request. An answer may quote the token; a message may not.
const TOKEN: &str = "hvs.canarycanarycanarycanary";
/// The longest message, with room for the paths and the errors in it.
const MAX_MESSAGE: usize = 16 * 1024;

/// An answer as text: the status, a header in each line, an empty line, the body. Laws: a message is one line, bounded, and without
/// the token; a secret that is handed to the sidecar is the secret that was read.
///
/// The input is also read as an OpenSSH certificate: hardly any mutation of base64 in JSON would reach that parser.
pub fn answer(bytes: &[u8]) {
    let _end = ssh_end(&format!("ssh {}", STANDARD.encode(bytes)));
    let (head, body) = split(bytes);
    let mut lines = head.split(|b| *b == b'\n');
    let status = lines
        .next()
        .and_then(|line| std::str::from_utf8(line).ok()?.trim().parse().ok());
    let status: u16 = status.unwrap_or(200);
    let headers: HeaderMap = lines.filter_map(header).collect();
    for in_clear in [false, true] {
        let answer = || ApiResponse {
            http: HttpResponse {
                status,
                headers: headers.clone(),
                body: Zeroizing::new(body.to_vec()),
            },
            in_clear,
            confidential: vec![Secret::from(TOKEN.as_bytes().to_vec())],
        };
        read(&answer);
    }
}

fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (b"200", bytes),
    }
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let at = line.iter().position(|b| *b == b':')?;
    let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?;
    Some((HeaderName::from_bytes(&line[..at]).ok()?, value))
}

fn read(answer: &dyn Fn() -> ApiResponse) {
    let wanted = |path: &str, version, data: Option<&str>| {
        let path: Option<ApiPath> = path.parse().ok();
        path.map(|path| Wanted {
            path,
            version,
            data: data.and_then(|data| serde_json::from_str(data).ok()),
        })
    };
    let data = Some(r#"{"common_name":"a"}"#);
    for wanted in [
        wanted("kv/data/a", None, None),
        wanted("kv/data/a", Some(2), None),
        wanted("pki/issue/a", None, data),
    ]
    .into_iter()
    .flatten()
    {
        let operation = Operation::Read {
            wanted: &wanted,
            role: "web",
            since_login: Duration::ZERO,
            lost: 0,
        };
        match reading(answer(), &wanted) {
            Ok(reading) => insist_on_the_handover(&reading, &wanted),
            Err(failure) => insist_on_a_message(operation, failure.with_head(answer().head())),
        }
        let refused = error_response(&answer(), wanted.path.as_str());
        insist_on_a_message(operation, FailedTry::Refused(Box::new(refused)));
    }
    if let Ok(auth) = auth(&answer()) {
        let shown = [&auth.accessor].into_iter().chain(&auth.policies);
        shown.for_each(|text| assert!(!text.contains(TOKEN) && text.len() <= 256, "{text}"));
    }
    for failure in [renewed_token(&answer()).err(), renewed_lease(&answer()).err()]
        .into_iter()
        .flatten()
    {
        insist_on_a_message(Operation::RenewToken, failure.with_head(answer().head()));
        let path = "database/creds/a";
        insist_on_a_message(Operation::RenewLease { path }, error(&answer()));
    }
    is_of_the_api(&answer());
}

fn error(answer: &ApiResponse) -> FailedTry {
    FailedTry::Refused(Box::new(error_response(answer, "")))
}

fn insist_on_the_handover(reading: &Reading, wanted: &Wanted) {
    let Some(handed) = Reading::handed_over(reading.body(), &wanted.path) else {
        panic!("the sidecar cannot read what init has read");
    };
    assert_eq!(handed.data(), reading.data());
    assert_eq!(handed.whole_data(), reading.whole_data());
    assert_eq!(handed.version, reading.version);
    let mount = EngineMount::parse(reading.data());
    if let Some(mount) = mount {
        mount.within(&wanted.path, Some("ns"));
    }
}

fn insist_on_a_message(operation: Operation<'_>, failure: FailedTry) {
    let (RetryDecision::GiveUp(error) | RetryDecision::Retry(_, _, error)) = classify(operation, &failure);
    for text in [&error.message, &error.hint] {
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(!text.contains(TOKEN), "the token is in {text:?}");
        assert!(text.len() <= MAX_MESSAGE, "{} bytes", text.len());
    }
}
