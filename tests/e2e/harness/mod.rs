//! What every end-to-end test stands on: the API of the cluster and of OpenBao, podkey installed, a namespace of the
//! test's own, and pods that explain themselves when they do not do what was expected.

pub mod api;
pub mod churn;
pub mod command;
pub mod control;
pub mod decided;
pub mod install;
pub mod namespace;
pub mod openbao;
pub mod pod;
pub mod settings;

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine. Nobody waits so long for what goes well.
pub const LIMIT: Duration = Duration::from_secs(150);

/// Asks again and again until there is an answer; none after the limit.
pub fn wait<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if begun.elapsed() > limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// Says that a test is left out, and why.
pub fn left_out(test: &str, why: &str) {
    println!("LEFT OUT: {test}: {why}");
}

/// One JSON document over another: objects are merged, `null` takes a field away, all else replaces.
pub fn merge(mut base: serde_json::Value, over: &serde_json::Value) -> serde_json::Value {
    json_patch::merge(&mut base, over);
    base
}
