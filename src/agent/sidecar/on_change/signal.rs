//! Sends a signal to the processes of the pod that have a name. The pod shares its process namespace.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, getpid, kill_process};

use super::ActionError;
use crate::plan::Signal;

/// How much of a process's command line is read, in bytes: the program stands at the beginning.
const MAX_COMMAND_LINE: usize = 4096;

/// A running process of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    /// `comm`, proc_pid_comm(5): the name of the program, at most 15 bytes, unless the process has changed it.
    pub(super) name: Vec<u8>,
    /// The program in the command line, without the directory.
    pub(super) called: Vec<u8>,
}

/// Signals every process with this name whose parent does not have this name: a server that forks informs its children
/// itself, and a child may end on the signal.
pub(super) fn send(signal: Signal, name: &str) -> Result<String, ActionError> {
    use rustix::process::Signal as Kernel;
    let signal = match signal {
        Signal::Hup => Kernel::HUP,
        Signal::Int => Kernel::INT,
        Signal::Quit => Kernel::QUIT,
        Signal::Term => Kernel::TERM,
        Signal::Usr1 => Kernel::USR1,
        Signal::Usr2 => Kernel::USR2,
        Signal::Winch => Kernel::WINCH,
    };
    let running = processes(Path::new("/proc"))
        .map_err(|error| ActionError::new(format!("cannot look for processes in /proc: {error}"), ""))?;
    let targets = named(&running, name, getpid().as_raw_nonzero().get());
    let (mut sent, mut refused) = (0, Vec::new());
    for pid in &targets {
        match kill_process(*pid, signal) {
            Ok(()) => sent += 1,
            // The process has just ended.
            Err(Errno::SRCH) => {}
            Err(error) => refused.push(format!("process {} ({name}): {error}", pid.as_raw_nonzero())),
        }
    }
    // No other try for the rest: the processes that got the signal would get it again.
    match (sent, refused.len()) {
        (0, 0) => Err(ActionError::new(
            format!("no process is called {name}"),
            "write the name of the program, such as nginx; the pod needs shareProcessNamespace: true",
        )),
        (0, _) => Err(ActionError::new(
            refused.join(", "),
            "the process runs as another user than podkey-sidecar: declare the same runAsUser for the pod and its containers",
        )),
        (_, 0) => Ok(format!("processes signalled: {sent}")),
        (_, more) => Ok(format!("processes signalled: {sent}; not allowed: {more}")),
    }
}

/// The processes with this name whose parent does not have it. Never the agent itself (`own`), nor process 1, which holds the
/// pod together.
pub(super) fn named(running: &[Process], name: &str, own: i32) -> Vec<Pid> {
    let is_named = |process: &&Process| process.name == name.as_bytes() || process.called == name.as_bytes();
    let all: Vec<&Process> = running.iter().filter(is_named).collect();
    all.iter()
        .filter(|process| process.pid > 1 && process.pid != own)
        .filter(|process| !all.iter().any(|other| other.pid == process.parent && other.pid > 1))
        .filter_map(|process| Pid::from_raw(process.pid))
        .collect()
}

/// Every running process. Processes that end meanwhile, and zombies, are left out.
pub(super) fn processes(proc: &Path) -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(proc)? {
        let entry = entry?;
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(process) = process(pid, &entry.path())
        {
            found.push(process);
        }
    }
    Ok(found)
}

fn process(pid: i32, directory: &Path) -> Option<Process> {
    let stat = first_bytes(&directory.join("stat"))?;
    // `PID (NAME) STATE PARENT …`, and a name may have parentheses (proc_pid_stat(5)).
    let open = stat.iter().position(|b| *b == b'(')?;
    let close = stat.iter().rposition(|b| *b == b')')?;
    let name = stat.get(open + 1..close)?.to_vec();
    let mut rest = stat
        .get(close + 1..)?
        .split(|b| *b == b' ')
        .filter(|word| !word.is_empty());
    if matches!(rest.next()?, b"Z" | b"X") {
        return None;
    }
    let parent = std::str::from_utf8(rest.next()?).ok()?.parse().ok()?;
    let command = first_bytes(&directory.join("cmdline"))?;
    let program = command.split(|b| *b == 0).next()?;
    let called = program.rsplit(|b| *b == b'/').next()?.to_vec();
    Some(Process {
        pid,
        parent,
        name,
        called,
    })
}

fn first_bytes(file: &Path) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).ok()?;
    opened.take(MAX_COMMAND_LINE as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
