//! Answers of both servers, and bodies that no server should send.

use std::time::Duration;

use ::http::header::{self, HeaderMap};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::http::HttpResponse;
use crate::vault::wanted::Wanted;

fn answered(body: &str) -> ApiResponse {
    with_status(200, body.as_bytes())
}

fn with_status(status: u16, body: &[u8]) -> ApiResponse {
    ApiResponse {
        http: HttpResponse {
            status,
            headers: HeaderMap::new(),
            body: Zeroizing::new(body.to_vec()),
        },
        in_clear: false,
        confidential: Vec::new(),
    }
}

fn wanted(path: &str) -> Wanted {
    Wanted {
        path: path.parse().unwrap(),
        version: None,
        data: None,
    }
}

fn data(path: &str, body: &str) -> Result<String, FailedTry> {
    reading(answered(body), &wanted(path)).map(|reading| reading.data().to_owned())
}

#[test]
fn the_fields_of_kv_v2_are_one_level_deeper_and_only_there() {
    let v2 = r#"{"lease_id":"","data":{"data":{"a":1.10},"metadata":{"version":7,"created_time":"x"}}}"#;
    assert_eq!(data("kv/data/web", v2).unwrap(), r#"{"a":1.10}"#);
    let whole = r#"{"data":{"a":1.10},"metadata":{"version":7,"created_time":"x"}}"#;
    for path in ["kv/web", "data/web", "kv/database"] {
        assert_eq!(
            data(path, v2).unwrap(),
            whole,
            "{path}: no data segment behind the mount"
        );
    }
    // A KV v1 secret that only looks like it.
    for not_v2 in [
        r#"{"data":{"x":1}}"#,
        r#"{"data":{"x":1},"metadata":{"version":"7"}}"#,
        r#"{"data":{"x":1},"metadata":{"version":7},"more":1}"#,
        r#"{"data":{"x":1},"metadata":7}"#,
    ] {
        let body = format!(r#"{{"data":{not_v2}}}"#);
        assert_eq!(data("kv/data/web", &body).unwrap(), *not_v2);
    }
}

#[test]
fn a_gone_version_is_not_a_missing_secret() {
    let body = |metadata: &str| {
        let body = format!(r#"{{"data":{{"data":null,"metadata":{metadata}}}}}"#);
        with_status(404, body.as_bytes())
    };
    let deleted = error_response(
        &body(r#"{"version":2,"deletion_time":"2026-11-22T04:20:10Z","destroyed":false}"#),
        "kv/data/a",
    );
    assert_eq!(deleted.gone.unwrap().at, "2026-11-22T04:20:10Z");
    let destroyed = error_response(
        &body(r#"{"version":2,"deletion_time":"","destroyed":true}"#),
        "kv/data/a",
    );
    assert!(destroyed.gone.unwrap().destroyed);
    let missing = with_status(404, br#"{"errors":[]}"#);
    assert_eq!(error_response(&missing, "kv/data/a").gone, None);
}

#[test]
fn logins_of_either_server_and_of_batch_tokens_are_read() {
    let full = r#"{"data":null,"auth":{"client_token":"s.x","accessor":"acc","policies":["a","b"],"token_policies":["b"],
        "metadata":{"role":"r"},"lease_duration":1200,"renewable":true,"entity_id":"e","token_type":"service","orphan":true,
        "mfa_requirement":null,"num_uses":0,"surprise":[1]}}"#;
    let auth_block = auth(&answered(full)).unwrap();
    assert_eq!(auth_block.client_token.expose(), b"s.x");
    assert_eq!((auth_block.ttl.as_secs(), auth_block.batch), (1200, false));
    assert_eq!(auth_block.policies, ["b"]);
    let batch = auth(&answered(
        r#"{"auth":{"client_token":"b.x","token_type":"batch","accessor":""}}"#,
    ))
    .unwrap();
    assert!(batch.batch);
}

#[test]
fn a_malformed_answer_is_described_without_its_content() {
    for (body, text) in [
        ("", "empty"),
        ("canary", "not the JSON"),
        ("{\"data\":", "not the JSON"),
        ("[]", "not the JSON"),
        (r#"[{"a":1}]"#, "not the JSON"),
        ("{}", "no data"),
        (r#"{"data":null}"#, "no data"),
        (r#"{"data":[1]}"#, "not an object"),
        (r#"{"data":"canary"}"#, "not an object"),
        (r#"{"data":{},"data":{}}"#, "not the JSON"),
        (r#"{"data":null,"wrap_info":{"token":"canary"}}"#, "wrapped"),
        (
            r#"{"data":{"data":"canary","metadata":{"version":1}}}"#,
            "not an object",
        ),
    ] {
        match data("kv/data/web", body) {
            Err(FailedTry::Malformed(what, _)) => assert!(what.contains(text), "{body}: {what}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    for (body, text) in [
        (r#"{"auth":null}"#, "no auth"),
        (r#"{"auth":["canary"]}"#, "not readable"),
        (r#"{"auth":{}}"#, "no client token"),
        (r#"{"auth":{"client_token":""}}"#, "no client token"),
        (r#"{"auth":{"client_token":"a\r\nb"}}"#, "characters"),
        (r#"{"auth":{"client_token":5}}"#, "not readable"),
        (r#"{"wrap_info":{"token":"x"}}"#, "wrapped"),
    ] {
        match auth(&answered(body)) {
            Err(FailedTry::Malformed(what, _)) => assert!(what.contains(text), "{body}: {what}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn a_renewal_gives_what_the_server_gave_and_no_more() {
    let gave = |ttl, renewable| {
        Some(Renewed {
            ttl: Duration::from_secs(ttl),
            renewable,
        })
    };
    for (body, token, lease) in [
        (
            r#"{"auth":{"client_token":"s.x","lease_duration":7,"renewable":true},"lease_duration":0}"#,
            gave(7, true),
            gave(0, false),
        ),
        (r#"{"auth":{}}"#, gave(0, false), None),
        (
            r#"{"lease_id":"db/creds/a/b","lease_duration":60,"renewable":true,"auth":null}"#,
            None,
            gave(60, true),
        ),
        (r#"{"lease_duration":60}"#, None, gave(60, false)),
        (r#"{"lease_duration":-1}"#, None, None),
        ("", None, None),
        ("[]", None, None),
    ] {
        assert_eq!(renewed_token(&answered(body)).ok(), token, "{body}");
        assert_eq!(renewed_lease(&answered(body)).ok(), lease, "{body}");
    }
}

#[test]
fn depth_is_counted_also_where_the_parser_skips() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let body = |depth| format!(r#"{{"data":{{}},"skipped":{}}}"#, nested(depth));
    assert!(data("kv/a", &body(60)).is_ok());
    assert!(data("kv/a", &body(64)).is_err());
    assert!(data("kv/a", &body(1_000_000)).is_err());
    assert_eq!(JsonSize::of(br#"{"a":"[[[[[[[[[[[[[[[[\"[[["}"#).depth, 1);
}

/// A secret of 4 MiB with 600,000 fields of one letter took the memory that a container has.
#[test]
fn an_answer_of_a_great_many_short_fields_took_all_memory() {
    let body = |fields: usize| {
        let fields: Vec<_> = (0..fields).map(|n| format!(r#""f{n}":1"#)).collect();
        format!(r#"{{"data":{{{}}}}}"#, fields.join(","))
    };
    assert!(data("kv/a", &body(60_000)).is_ok());
    assert!(data("kv/a", &body(70_000)).is_err());
    let list = format!(r#"{{"data":{{"a":[{}1]}}}}"#, "1,".repeat(70_000));
    assert!(data("kv/a", &list).is_err());
    let errors = format!(r#"{{"errors":[{}""]}}"#, r#""","#.repeat(70_000));
    assert!(!error_response(&answered(&errors), "a").from_vault);
    let text = format!(r#"{{"data":{{"a":"{}"}}}}"#, ",".repeat(100_000));
    assert!(data("kv/a", &text).is_ok(), "commas in a text are no values");
}

#[test]
fn texts_of_the_server_are_cut_and_escaped() {
    let body = serde_json::json!({"errors": ["\u{1b}[31m\n".repeat(500), "b"], "warnings": ["w\r\nx"]}).to_string();
    let answer = with_status(400, body.as_bytes());
    let response = error_response(&answer, "a");
    assert!(response.errors[0].len() < 520 && !response.errors[0].chars().any(char::is_control));
    assert_eq!(response.warnings, ["w x"]);
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let answer = || with_status(200, &body);
        let _ = auth(&answer());
        let _ = error_response(&answer(), "kv/data/a");
        let _ = reading(answer(), &wanted("kv/data/a"));
        let _ = renewed_token(&answer());
        let _ = renewed_lease(&answer());
    }

    #[test]
    fn no_cut_of_a_good_answer_is_taken_for_whole(at in 0..160_usize) {
        let body = r#"{"request_id":"1","lease_id":"","renewable":false,"data":{"data":{"a":"b\u00e4"},"metadata":{"version":1}},"wrap_info":null,"warnings":null,"auth":null}"#;
        let at = at.min(body.len() - 1);
        prop_assert!(reading(answered(&body[..at]), &wanted("kv/data/a")).is_err());
    }
}

#[test]
fn json_of_a_gateway_is_not_taken_for_the_servers() {
    let of_server =
        |status: u16, body: &str| error_response(&with_status(status, body.as_bytes()), "kv/data/a").from_vault;
    for body in [
        "",
        "RBAC: access denied",
        "<html>403</html>",
        "null",
        "[]",
        "{}",
        r#"{"message":"forbidden"}"#,
        r#"{"error":"forbidden"}"#,
        r#"{"errors":"forbidden"}"#,
        r#"{"errors":{"a":"b"}}"#,
        r#"{"errors":[{"message":"forbidden"}]}"#,
        r#"{"errors":null}"#,
        r#"{"status":"fail","data":{"reason":"forbidden"}}"#,
        r#"{"data":null}"#,
        r#"{"code":403,"status":"Failure","kind":"Status","apiVersion":"v1"}"#,
    ] {
        assert!(!of_server(403, body), "{body}");
    }
    for body in [
        r#"{"errors":[]}"#,
        r#"{"errors":["permission denied"]}"#,
        r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
        r#"{"request_id":"x","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":["Invalid path"],"auth":null}"#,
        r#"{"data":{"data":null,"metadata":{"version":2,"deletion_time":"","destroyed":true}}}"#,
    ] {
        assert!(of_server(404, body), "{body}");
    }
}

#[test]
fn known_texts_without_json_have_their_meaning() {
    let meaning = |status: u16, in_clear: bool, content_type: Option<&'static str>, body: &str| {
        let mut answer = with_status(status, body.as_bytes());
        answer.in_clear = in_clear;
        if let Some(content_type) = content_type {
            let value = ::http::HeaderValue::from_static(content_type);
            answer.http.headers.insert(header::CONTENT_TYPE, value);
        }
        error_response(&answer, "").meaning
    };
    let go = "Client sent an HTTP request to an HTTPS server.\n";
    let nginx = "<html><h1>400 The plain HTTP request was sent to HTTPS port</h1></html>";
    for (status, in_clear, content_type, body, expected) in [
        (400, true, None, go, Some(Meaning::WantsTls)),
        (400, true, Some("text/plain"), go, Some(Meaning::WantsTls)),
        (400, true, Some("text/html"), nginx, Some(Meaning::WantsTls)),
        (400, false, Some("text/plain"), go, Some(Meaning::WantsTlsBehind)),
        (
            400,
            false,
            Some("text/html"),
            "<h1>400 Bad Request</h1> No required SSL certificate was sent",
            Some(Meaning::WantsClientCertificate),
        ),
        (
            404,
            false,
            Some("text/plain; charset=utf-8"),
            "this listener only serves the metrics endpoint\n",
            Some(Meaning::MetricsListener),
        ),
        (400, false, Some("text/plain"), "400 Bad Request", None),
        (403, true, Some("text/plain"), "RBAC: access denied", None),
    ] {
        assert_eq!(meaning(status, in_clear, content_type, body), expected, "{body}");
    }
}

#[test]
fn only_the_version_that_was_asked_for_is_delivered() {
    let read = |body: &str| {
        let wanted = Wanted {
            version: Some(3),
            ..wanted("kv/data/a")
        };
        reading(answered(body), &wanted).map(|reading| reading.version)
    };
    let v2 = |version: u64| format!(r#"{{"data":{{"data":{{"a":1}},"metadata":{{"version":{version}}}}}}}"#);
    assert_eq!(read(&v2(3)).unwrap(), Some(3));
    assert!(matches!(read(&v2(4)), Err(FailedTry::Malformed(..))));
    match read(r#"{"data":{"a":1}}"#) {
        Err(FailedTry::Refused(response)) => assert_eq!(response.meaning, Some(Meaning::Unversioned)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_factor_names_the_enforcement() {
    let body = r#"{"auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"x","mfa_constraints":{"people":{"any":[{"type":"totp"}]}}}}}"#;
    match auth(&answered(body)) {
        Err(FailedTry::Refused(response)) => {
            assert_eq!(response.meaning, Some(Meaning::SecondFactor(vec!["people".into()])));
        }
        other => panic!("{other:?}"),
    }
    let odd = auth(&answered(r#"{"auth":{"mfa_requirement":{"mfa_constraints":[1]}}}"#));
    assert!(matches!(odd, Err(FailedTry::Refused(_))));
}

#[test]
fn an_answer_that_was_handed_over_is_the_answer_that_was_read() {
    for (path, body) in [
        (
            "kv/data/web",
            r#"{"data":{"data":{"a":1.10},"metadata":{"version":7}},"lease_id":""}"#,
        ),
        ("kv/web", r#"{"data":{"a":"b"}}"#),
        (
            "database/creds/web",
            r#"{"lease_id":"x","lease_duration":60,"data":{"username":"u"}}"#,
        ),
    ] {
        let wanted = wanted(path);
        let read = reading(answered(body), &wanted).unwrap();
        let handed = Reading::handed_over(body.as_bytes(), &wanted.path).unwrap();
        assert_eq!((handed.data(), handed.whole_data()), (read.data(), read.whole_data()));
        assert_eq!((handed.body(), handed.version), (read.body(), read.version));
    }
    for bad in ["", "[]", "{}", r#"{"data":[]}"#, r#"{"data":null}"#] {
        assert!(
            Reading::handed_over(bad.as_bytes(), &wanted("kv/web").path).is_none(),
            "{bad}"
        );
    }
}
