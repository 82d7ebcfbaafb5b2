//! What a process has used, as the scheduler counts it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// The CPU time of all threads of a process that are still there.
pub(crate) fn of_process(pid: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))? {
        // A thread may end meanwhile.
        let Ok(times) = std::fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        nanos += times.split(' ').next().context("schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
