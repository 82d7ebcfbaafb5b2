//! What runs in the pod: `init`, the sidecar, in a runner the job hooks, and `exec` in front of a command. This is
//! the agent's edge: it reads the plan, asks `vault` for secrets and `render` for bytes, and puts files into the volume.

mod delivery;
mod exec;
mod files;
mod fresh;
mod handover;
mod hooks;
mod init;
mod on_change;
mod outcome;
mod report;
mod sidecar;
mod signals;
mod tools;
mod view;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use self::hooks::{Hook, PlainLines, job_completed, job_started};
pub use self::init::BUDGET_ENV;
use self::report::{Failure, Report, RunStage, SetupFault};
use crate::telemetry::LogFormat;
use crate::vault::clean;

/// Where the kubelet reads a container's last words.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// What a program of the agent's works on, as `main` found it.
#[derive(Debug)]
pub struct Surroundings {
    /// The text of `PODKEY_PLAN`.
    pub plan: Option<OsString>,
    /// The text of `PODKEY_BUDGET`.
    pub budget: Option<OsString>,
    /// The prefix of every path, outside a container.
    pub root: Option<PathBuf>,
    /// How the last line looks, like those before it.
    pub log_format: LogFormat,
}

impl Surroundings {
    /// A path of the container, below the root.
    pub fn path(&self, absolute: &str) -> PathBuf {
        below(self.root.as_deref(), absolute)
    }
}

/// No other process of the same user may read this one's memory or environment, nor a core file of it, and a panic tells
/// where it was but not its message, which could quote data. The first thing in `main`: everything after it handles secrets.
pub fn harden() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // Giving up a right needs no right; if a sandbox forbids even that, the secrets still have to reach the pod.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(std::io::stderr(), "podkey-agent has a bug: it gave up at {place}");
    }));
}

/// No core file, whatever else fails. Not before `exec`: the limit would stay with the container's command.
pub fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
}

/// Runs `podkey-agent exec`: becomes the command, and reports only why it cannot. Gives the exit code.
pub fn exec(command: &[OsString], root: Option<PathBuf>, log_format: LogFormat) -> u8 {
    let failure = exec::run(command, root.as_deref());
    let surroundings = Surroundings {
        plan: None,
        budget: None,
        root,
        log_format,
    };
    report(&Report::new(RunStage::Exec, None, &Err(failure)), &surroundings)
}

/// Runs `podkey-agent init` and reports how it ended. Gives the exit code.
pub fn init(surroundings: &Surroundings) -> u8 {
    let (stage, connection, outcome) =
        block_on(init::run(surroundings)).unwrap_or_else(|failure| (RunStage::Login, None, Err(failure)));
    report(&Report::new(stage, connection.as_deref(), &outcome), surroundings)
}

/// Runs `podkey-agent sidecar` until a signal and reports how it ended. Gives the exit code, which is 0: a sidecar that fails
/// could be taken for a job that did.
pub fn sidecar(surroundings: &Surroundings) -> u8 {
    /// What keeps the runtime from starting, such as a node without memory, passes or does not.
    const START_AGAIN: Duration = Duration::from_secs(60);
    end_well();
    let (stage, connection, outcome) = loop {
        match block_on(sidecar::run(surroundings)) {
            Ok(ended) => break ended,
            Err(failure) => {
                tracing::error!(
                    reason = failure.message,
                    "the files stay as they are: nothing keeps them fresh"
                );
                std::thread::sleep(START_AGAIN);
            }
        }
    };
    report(&Report::new(stage, connection.as_deref(), &outcome), surroundings)
}

/// From here on a panic ends the process as if all were well; the kubelet starts it anew.
fn end_well() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::exit(0);
    }));
}

/// Reports a command line that cannot be understood. Gives the exit code.
pub fn bad_usage(message: &'static str, root: Option<PathBuf>, log_format: LogFormat) -> u8 {
    let failure = Failure::from(SetupFault::CommandLine(message));
    let surroundings = Surroundings {
        plan: None,
        budget: None,
        root,
        log_format,
    };
    report(&Report::new(RunStage::Usage, None, &Err(failure)), &surroundings)
}

/// How long something took.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// Runs it to its end on this thread.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SetupFault::EventLoop)?;
    let ended = runtime.block_on(work);
    // A name that is still being looked up must not hold up the exit.
    runtime.shutdown_background();
    Ok(ended)
}

/// An absolute path of the container, below the root where there is one.
fn below(root: Option<&Path>, absolute: &str) -> PathBuf {
    match root {
        None => PathBuf::from(absolute),
        Some(root) => root.join(absolute.trim_start_matches('/')),
    }
}

fn report(report: &Report, surroundings: &Surroundings) -> u8 {
    // Standard error may be closed; the exit code still tells.
    let _ = writeln!(std::io::stderr(), "{}", report.last_line(surroundings.log_format));
    files::write_termination_message(
        &surroundings.path(TERMINATION_LOG),
        &report.text(),
        surroundings.root.is_some(),
    );
    report.code()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sidecar is this test itself, run again as a process.
    #[test]
    fn a_sidecar_with_a_bug_ends_as_if_all_were_well_and_says_nothing_but_where() {
        const AGAIN: &str = "PODKEY_TEST_PANIC";
        if std::env::var_os(AGAIN).is_some() {
            harden();
            end_well();
            panic!("canary-of-a-panic");
        }
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "agent::tests::a_sidecar_with_a_bug_ends_as_if_all_were_well_and_says_nothing_but_where",
            ])
            .arg("--nocapture")
            .env(AGAIN, "1")
            .output()
            .unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("it gave up at src/agent/mod.rs"), "{stderr}");
        assert!(!stderr.contains("canary"), "{stderr}");
        // The test did not simply pass.
        assert!(!String::from_utf8(ended.stdout).unwrap().contains("test result"));
    }
}
