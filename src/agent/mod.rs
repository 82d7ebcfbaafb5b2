//! What runs in the pod: `init`, the sidecar, the job hooks in a runner, and `exec` in front of a command. This room is the
//! agent's edge: it reads the plan, asks `vault` for secrets and `render` for bytes, and writes files into the volume.

mod delivery;
mod exec;
mod fresh;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handover;
mod hooks;
mod init;
mod kubelet_env;
mod process;
mod report;
mod runtime;
mod sidecar;
mod signals;
mod token_file;
mod validity;
mod volume;

use std::ffi::OsString;
use std::io::Write as _;
use std::time::Duration;

pub use self::hooks::{Hook, PlainLines, job_completed, job_started};
pub use self::process::{harden, leave_no_core};
use self::report::{Failure, RunReport, RunStage, SetupFault};
pub use self::runtime::Runtime;

/// How a run ended: how far it came, the name of the connection, and what to report.
type RunEnd = (RunStage, Option<String>, Result<String, Failure>);

/// Runs `podkey-agent exec`: becomes the command. Returns, with the exit code, only if the command cannot be started.
pub fn exec(command: &[OsString], runtime: &Runtime) -> u8 {
    let failure = exec::run(command, &runtime.paths);
    report((RunStage::Exec, None, Err(failure)), runtime)
}

/// Runs `podkey-agent init` and reports how it ended. Returns the exit code.
pub fn init(runtime: &Runtime) -> u8 {
    let end = process::block_on(init::run(runtime));
    let end = end.unwrap_or_else(|failure| (RunStage::Login, None, Err(failure)));
    report(end, runtime)
}

/// Runs `podkey-agent sidecar` until a signal and reports how it ended. Returns the exit code, which is 0: a sidecar that
/// fails could be taken for a job that failed. Only where a change restarts the containers, the code says so.
pub fn sidecar(runtime: &Runtime) -> u8 {
    /// The reason may pass, such as a node without free memory.
    const START_AGAIN: Duration = Duration::from_secs(60);
    process::exit_0_after_a_panic();
    let end = loop {
        match process::block_on(sidecar::run(runtime)) {
            Ok(end) => break end,
            Err(failure) => {
                sidecar::log_not_refreshed(&failure);
                std::thread::sleep(START_AGAIN);
            }
        }
    };
    report(end, runtime)
}

/// Runs `podkey-agent fresh`. The report is on standard output, which the kubelet puts into an event. Returns 0, or 1 if a file is
/// not fresh.
pub fn fresh(runtime: &Runtime) -> u8 {
    let Some(problems) = fresh::problems(runtime) else {
        return 0;
    };
    // Where nobody reads the report, the exit code still says it.
    let _ = writeln!(std::io::stdout(), "{problems}");
    1
}

/// Reports that the command line cannot be understood. Returns the exit code.
pub fn bad_usage(runtime: &Runtime) -> u8 {
    let fault = SetupFault::CommandLine("the command line cannot be understood");
    report((RunStage::Usage, None, Err(fault.into())), runtime)
}

fn report((stage, connection, outcome): RunEnd, runtime: &Runtime) -> u8 {
    let report = RunReport::new(stage, connection.as_deref(), &outcome);
    // Standard error may be closed; the exit code still says how the run ended.
    let _ = writeln!(std::io::stderr(), "{}", report.last_line(runtime.log_format));
    volume::write_termination_message(&runtime.paths, &report.text());
    report.code()
}
