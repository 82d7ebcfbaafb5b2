//! The doors of the fuzz targets `handover` and `status_file`: what one process of the agent has written for the next.

#![allow(clippy::expect_used, reason = "a fuzz target panics if a law is broken")]

use super::handover::{HandedAnswer, Handover};
use super::volume::StatusFile;
use crate::plan::ApiPath;
use crate::vault::Reading;

/// The handover of `init` to the sidecar. Laws: what is read is written as it was; a session that goes on has a token that fits into
/// a request.
pub fn handover(bytes: &[u8]) {
    let Ok(handover) = serde_json::from_slice::<Handover<'_>>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&handover).expect("a handover can be written");
    let again: Handover<'_> = serde_json::from_slice(&written).expect("podkey reads the handover that it wrote");
    assert_eq!(written, serde_json::to_vec(&again).expect("a handover can be written"));
    let Handover::Delivered(session) = handover else { return };
    let path: Result<ApiPath, _> = "kv/data/a".parse();
    for answer in session.combined.values().filter_map(HandedAnswer::body) {
        let reading = path
            .as_ref()
            .ok()
            .and_then(|path| Reading::handed_over(answer.expose(), path));
        if let Some(reading) = reading {
            assert!(reading.data().starts_with('{') && reading.whole_data().starts_with('{'));
        }
    }
    for validity in &session.sources {
        validity.lifetime();
    }
    if let Some(session) = session.resume() {
        let token = session.client_token().expose();
        assert!(!token.is_empty() && token.iter().all(u8::is_ascii_graphic));
        session.left();
    }
}

/// `.status.json`, as a sidecar that starts again reads it. Law: what is read is written as it was.
pub fn status_file(bytes: &[u8]) {
    let Ok(status) = serde_json::from_slice::<StatusFile>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&status).expect("a status file can be written");
    let again: StatusFile = serde_json::from_slice(&written).expect("podkey reads the status file that it wrote");
    assert_eq!(
        written,
        serde_json::to_vec(&again).expect("a status file can be written")
    );
    assert_eq!(status.files.len(), status.of(status.files.clone()).files.len());
    for file in status.files.values() {
        file.age();
    }
}
