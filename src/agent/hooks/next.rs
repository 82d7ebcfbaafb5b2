//! The hook that the pod's author set before podkey put its own in the place: run after ours, as the runner would have run it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::Hook;
use crate::agent::report::{Failure, SetupFault};
use crate::agent::signals::Signals;

/// Runs the next hook to its end, with its standard streams those of ours, and gives its exit code; 0 where there is none.
/// The signals of a cancelled job are passed on to it: how it ends is its own decision.
pub(super) async fn run(hook: &Hook, variable: &'static str, ours: &str, signals: &mut Signals) -> Result<u8, Failure> {
    let Some((script, mut command)) = command(hook, variable, ours)? else {
        return Ok(0);
    };
    let program = command.get_program().to_string_lossy().into_owned();
    let cannot = |error: io::Error| failed(script, &format!("{program}: {error}"));
    // Before there is a child: its end must not be missed.
    let mut ended = signal(SignalKind::child()).map_err(cannot)?;
    let mut child = command.spawn().map_err(cannot)?;
    loop {
        if let Some(status) = child.try_wait().map_err(cannot)? {
            // What a signal ended has the code that a shell and the runner give it.
            let code = status.code().or_else(|| Some(128 + status.signal()?));
            return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
        }
        tokio::select! {
            _ = ended.recv() => {}
            // It may have ended in between; nobody else has its number before we have asked how.
            told = signals.next() => drop(kill_process(Pid::from_child(&child), told.signal())),
        }
    }
}

/// Becomes the next hook, so that its exit code is ours and the signals of a cancelled job reach it. Returns where there is
/// none, or where it cannot be run.
pub(super) fn become_it(hook: &Hook, variable: &'static str, ours: &str) -> Result<(), Failure> {
    let Some((script, mut command)) = command(hook, variable, ours)? else {
        return Ok(());
    };
    let error = command.exec();
    Err(failed(
        script,
        &format!("{}: {error}", command.get_program().to_string_lossy()),
    ))
}

/// Tells beforehand, while nothing is exported, why the next hook could not be run.
pub(super) fn check(hook: &Hook, variable: &'static str, ours: &str) -> Result<(), Failure> {
    command(hook, variable, ours).map(drop)
}

fn command<'h>(hook: &'h Hook, variable: &'static str, ours: &str) -> Result<Option<(&'h str, Command)>, Failure> {
    let script = match hook.text(variable) {
        // Kubernetes leaves a reference as it is that it cannot expand.
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

/// What the runner makes of a hook's path: its interpreter goes by the ending
/// (`HostContext.GetDefaultShellForScript`, `ScriptHandlerHelpers`).
fn words(hook: &Hook, script: &str) -> Result<Vec<OsString>, &'static str> {
    let with = |program: PathBuf, arguments: &[&str]| {
        std::iter::once(program.into_os_string())
            .chain(arguments.iter().map(OsString::from))
            .collect()
    };
    let first = |names: [&str; 2]| {
        let [preferred, other] = names;
        found(hook, preferred).unwrap_or_else(|| other.into())
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

fn found(hook: &Hook, program: &str) -> Option<PathBuf> {
    let path = hook.variables.get(OsStr::new("PATH"))?;
    std::env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// The runner's own Node lies two folders above the job's workspace's parent, beside the work folder.
fn node(hook: &Hook) -> PathBuf {
    let externals = hook
        .text("RUNNER_WORKSPACE")
        .and_then(|workspace| Path::new(workspace).ancestors().nth(2))
        .map(|root| root.join("externals"));
    ["node20", "node24", "node16"]
        .iter()
        .filter_map(|version| Some(externals.as_ref()?.join(version).join("bin/node")))
        .find(|candidate| candidate.is_file())
        .or_else(|| found(hook, "node"))
        .unwrap_or_else(|| "node".into())
}
