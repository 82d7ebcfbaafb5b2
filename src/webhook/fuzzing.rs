//! The door of the fuzz target `review`: the body of an AdmissionReview.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a fuzz target panics if a law is broken"
)]

use std::sync::Arc;

use serde_json::Value;

use super::memo::Memo;
use super::review::{MAX_PROBLEMS_BYTES, ReviewAnswer, answer};
use crate::inject::Config;

/// The webhook's answer. Laws: the answer is JSON with the request's uid; a refused pod has no patch, and a message and a code that
/// say why; the memo answers as the decision does, also for another uid.
pub(crate) fn review(bytes: &[u8], config: &Arc<Config>) {
    let Ok(answered) = answer(bytes, config) else { return };
    let review: Value = serde_json::from_slice(&answered.body).expect("the answer is JSON");
    let response = &review["response"];
    assert_eq!(response["uid"], answered.log.uid.as_str());
    match &response["allowed"] {
        Value::Bool(true) => assert!(response.get("status").is_none()),
        _ => {
            assert!(response.get("patch").is_none(), "a refused pod has a patch");
            let code = response["status"]["code"].as_u64();
            assert!(matches!(code, Some(400 | 403)), "{code:?}");
            let message = response["status"]["message"].as_str().unwrap_or_default();
            assert!(!message.is_empty() && message.len() <= MAX_PROBLEMS_BYTES + 3);
        }
    }
    let memo = Memo::default();
    insist_on_same(&memo.answer(bytes, config), &answered);
    insist_on_same(&memo.answer(bytes, config), &answered);
    // A review that differs in its uid alone, and perhaps in whatever else has that text.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let uid = answered.log.uid.as_str();
    if uid.len() > 3 && uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        let other = text.replace(uid, &"0".repeat(uid.len()));
        if let Ok(fresh) = answer(other.as_bytes(), config) {
            insist_on_same(&memo.answer(other.as_bytes(), config), &fresh);
        }
    }
}

fn insist_on_same(remembered: &Result<ReviewAnswer, super::review::ReviewError>, fresh: &ReviewAnswer) {
    let Ok(remembered) = remembered else {
        panic!("the memo refuses what the decision answers");
    };
    assert_eq!(
        String::from_utf8_lossy(&remembered.body),
        String::from_utf8_lossy(&fresh.body),
        "the memo has another answer"
    );
    let counted = |answer: &ReviewAnswer| (answer.outcome, answer.pod());
    assert_eq!(counted(remembered), counted(fresh), "the memo counts another result");
    let named = |answer: &ReviewAnswer| (answer.log.namespace.clone(), answer.log.name.clone());
    assert_eq!(named(remembered), named(fresh), "the memo logs another pod");
}
