//! The agent as a process: it keeps its memory to itself, reports no data in a panic, and runs its work on one thread.

use std::io::Write as _;
use std::time::Instant;

use super::report::{Failure, SetupFault};

/// Protects the process, and is the first call in `main`, before any secret is handled: no other process of the same user
/// may read the memory or the environment, nor a core file, and a panic prints the source line but not the message, which
/// could quote data.
pub fn harden() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // Giving up a right needs no right. If a sandbox forbids even that, the secrets still have to reach the pod.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    std::panic::set_hook(Box::new(|panic| {
        let line = panic.location().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(std::io::stderr(), "podkey-agent has a bug: it gave up at {line}");
    }));
}

/// Forbids core files even if [`harden`] failed. Not for `exec`: the limit would stay with the container's command.
pub fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
}

/// From now on a panic ends the process with exit code 0, and the kubelet starts the sidecar again.
pub(super) fn exit_0_after_a_panic() {
    let print_line = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print_line(panic);
        std::process::exit(0);
    }));
}

/// Measures how long something takes.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// Runs the work to the end on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SetupFault::EventLoop)?;
    let ended = event_loop.block_on(work);
    // A DNS lookup that is still under way must not delay the exit.
    event_loop.shutdown_background();
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sidecar is this test itself, run again as a process.
    #[test]
    fn a_sidecar_with_a_bug_exits_with_0_and_prints_only_the_source_line() {
        const AGAIN: &str = "PODKEY_TEST_PANIC";
        if std::env::var_os(AGAIN).is_some() {
            harden();
            exit_0_after_a_panic();
            panic!("canary-of-a-panic");
        }
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "agent::process::tests::a_sidecar_with_a_bug_exits_with_0_and_prints_only_the_source_line",
            ])
            .arg("--nocapture")
            .env(AGAIN, "1")
            .output()
            .unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("it gave up at src/agent/process.rs"), "{stderr}");
        assert!(!stderr.contains("canary"), "{stderr}");
        // The test did not simply pass.
        assert!(!String::from_utf8(ended.stdout).unwrap().contains("test result"));
    }
}
