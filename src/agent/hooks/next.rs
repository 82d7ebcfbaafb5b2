//! The next hook: the hook that the pod's author set. It runs after podkey's hook, as the runner would have run it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, kill_process};
use tokio::signal::unix::{SignalKind, signal as on_signal};

use super::Hook;
use crate::agent::report::{Failure, SetupFault};
use crate::agent::signals::Signals;

/// Runs the next hook to its end, with the standard streams of this process. Returns the exit code; 0 if there is no next hook.
/// The signals of a cancelled job are passed on: the next hook decides how it ends.
pub(super) async fn run(hook: &Hook, variable: &'static str, ours: &str, signals: &mut Signals) -> Result<u8, Failure> {
    let Some((script, mut command)) = command(hook, variable, ours)? else {
        return Ok(0);
    };
    let program = command.get_program().to_string_lossy().into_owned();
    let cannot = |error: io::Error| failed(script, &format!("{program}: {error}"));
    // Before the child starts, so that its end is not missed.
    let mut ended = on_signal(SignalKind::child()).map_err(cannot)?;
    let mut child = command.spawn().map_err(cannot)?;
    loop {
        if let Some(status) = child.try_wait().map_err(cannot)? {
            // For a process that a signal ended, a shell and the runner use this exit code.
            let code = status.code().or_else(|| Some(128 + status.signal()?));
            return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
        }
        tokio::select! {
            _ = ended.recv() => {}
            // The child may have ended just now. No other process gets its number before `try_wait`.
            signal = signals.next() => drop(kill_process(Pid::from_child(&child), signal.kernel_signal())),
        }
    }
}

/// Becomes the next hook, so that the process has its exit code and the signals of a cancelled job reach it. Returns if there is
/// no next hook, or if it cannot be run.
pub(super) fn become_hook(hook: &Hook, variable: &'static str, ours: &str) -> Result<(), Failure> {
    let Some((script, mut command)) = command(hook, variable, ours)? else {
        return Ok(());
    };
    let error = command.exec();
    Err(failed(
        script,
        &format!("{}: {error}", command.get_program().to_string_lossy()),
    ))
}

/// Fails if the next hook could not be run. Called before any secret is written or exported.
pub(super) fn check(hook: &Hook, variable: &'static str, ours: &str) -> Result<(), Failure> {
    command(hook, variable, ours).map(drop)
}

fn command<'h>(hook: &'h Hook, variable: &'static str, ours: &str) -> Result<Option<(&'h str, Command)>, Failure> {
    let script = match hook.text(variable) {
        // Kubernetes leaves a reference that it cannot expand unchanged: the author set no hook.
        Some(text) if !text.starts_with("$(") && text != ours => text,
        _ => return Ok(None),
    };
    if !Path::new(script).is_file() {
        return Err(failed(script, "there is no such file"));
    }
    let words = words(hook, script).map_err(|why| failed(script, why))?;
    let [program, arguments @ ..] = &words[..] else {
        return Ok(None);
    };
    let mut command = Command::new(program);
    command.args(arguments).env_remove(variable);
    Ok(Some((script, command)))
}

fn failed(script: &str, why: &str) -> Failure {
    let (script, why) = (script.to_owned(), why.to_owned());
    SetupFault::NextHook { script, why }.into()
}

/// The command line that the runner makes of a hook's path: the file's extension decides the interpreter
/// (`HostContext.GetDefaultShellForScript`, `ScriptHandlerHelpers`).
fn words(hook: &Hook, script: &str) -> Result<Vec<OsString>, &'static str> {
    let with = |program: PathBuf, arguments: &[&str]| {
        std::iter::once(program.into_os_string())
            .chain(arguments.iter().map(OsString::from))
            .collect()
    };
    let first = |names: [&str; 2]| {
        let [preferred, other] = names;
        in_path(hook, preferred).unwrap_or_else(|| other.into())
    };
    match Path::new(script).extension().and_then(|ending| ending.to_str()) {
        Some("sh") => Ok(with(first(["bash", "sh"]), &["-e", script])),
        Some("ps1") => {
            let quoted = format!(". '{}'", script.replace('\'', "''"));
            Ok(with(first(["pwsh", "powershell"]), &["-command", &quoted]))
        }
        Some("js") => Ok(with(node(hook), &[script])),
        _ => Err("it must end in .sh, .ps1 or .js"),
    }
}

fn in_path(hook: &Hook, program: &str) -> Option<PathBuf> {
    let path = hook.variables.get(OsStr::new("PATH"))?;
    std::env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// The runner's own Node is in the folder `externals` beside the work folder, two folders above the job's workspace.
fn node(hook: &Hook) -> PathBuf {
    let externals = hook
        .text("RUNNER_WORKSPACE")
        .and_then(|workspace| Path::new(workspace).ancestors().nth(2))
        .map(|root| root.join("externals"));
    ["node20", "node24", "node16"]
        .iter()
        .filter_map(|version| Some(externals.as_ref()?.join(version).join("bin/node")))
        .find(|candidate| candidate.is_file())
        .or_else(|| in_path(hook, "node"))
        .unwrap_or_else(|| "node".into())
}
