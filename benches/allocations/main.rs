//! Counts the allocations of one decision. A program of its own, because counting them costs time.

#[path = "../pods.rs"]
mod pods;

use std::alloc::System;
use std::io::Write;

use podkey::inject::{Pod, decide};
use serde_json::{Value, json};
use stats_alloc::StatsAlloc;

#[global_allocator]
static COUNTING: StatsAlloc<System> = StatsAlloc::system();

/// What runs between two looks at the counter. Reallocations count: a vector that grows asks for memory too.
fn count<T>(work: impl FnOnce() -> T) -> (T, Value) {
    let before = COUNTING.stats();
    let result = work();
    let done = COUNTING.stats() - before;
    let bytes = done.bytes_allocated.saturating_add_signed(done.bytes_reallocated);
    (
        result,
        json!({"allocations": done.allocations + done.reallocations, "bytes": bytes}),
    )
}

fn main() -> anyhow::Result<()> {
    let config = pods::config()?;
    let mut counts = serde_json::Map::new();
    for entries in [10, 100, 1_000] {
        let json = serde_json::to_string(&pods::runner_pod(entries)?)?;
        let pod = Pod::parse(&json)?;
        // What is made once and kept is made here.
        drop(decide(&pod, pods::NAMESPACE, &config));
        let (_, deciding) = count(|| decide(&pod, pods::NAMESPACE, &config));
        let (parsed, parsing) = count(|| Pod::parse(&json).map(|pod| decide(&pod, pods::NAMESPACE, &config)));
        parsed?;
        counts.insert(entries.to_string(), json!({"decide": deciding, "parse": parsing}));
    }
    Ok(writeln!(std::io::stdout(), "{}", Value::Object(counts))?)
}
