//! Tells the app that its files changed: a signal, a touched file or an HTTP request inside the pod, as the plan says. After
//! the swap and beside it: nothing of this holds the refresh up or makes it fail, and no shell has a part in it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderValue};
use http::{Method, Request};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, kill_process};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::files;
use crate::plan::{LoopbackUrl, OnChange, Signal};

/// One request, from its connection to the head of its answer.
const HTTP: Duration = Duration::from_secs(10);
/// What is read of a process's command line: the name is at its beginning.
const MAX_COMMAND: usize = 4096;

/// The plan's actions, and those of the last change that are still under way.
#[derive(Debug)]
pub(super) struct Actions {
    planned: Vec<OnChange>,
    /// The directory that the containers see as `/podkey/secrets`.
    files: PathBuf,
    patience: Patience,
    running: JoinSet<()>,
}

/// How often an action is tried, and how long after its first failure again: twice as long after each further one.
#[derive(Debug, Clone, Copy)]
struct Patience {
    tries: u32,
    pause: Duration,
}

/// Five tries within about half a minute: an app that is just starting reads the new files anyway.
const PATIENCE: Patience = Patience {
    tries: 5,
    pause: Duration::from_secs(2),
};

/// Why an action had no success, and what to do about it.
#[derive(Debug)]
struct Failed {
    why: String,
    hint: &'static str,
}

impl Actions {
    /// Of a plan, for the directory that its files are in.
    pub(super) fn new(planned: Vec<OnChange>, files: PathBuf) -> Self {
        Self {
            planned,
            files,
            patience: PATIENCE,
            running: JoinSet::new(),
        }
    }

    /// Runs them all in the background, each by itself. Those of an earlier change that had no success yet give way: these
    /// tell of it too.
    pub(super) fn run(&mut self) {
        // Dropping the earlier ones ends them.
        self.running = JoinSet::new();
        for action in &self.planned {
            let (action, files, patience) = (action.clone(), self.files.clone(), self.patience);
            self.running.spawn(async move {
                carry_out(&action, &files, patience).await;
            });
        }
    }
}

/// Tries until it succeeds or the patience ends, and logs which. Tells whether it did.
async fn carry_out(action: &OnChange, files: &Path, patience: Patience) -> bool {
    let mut pause = patience.pause;
    for attempt in 1.. {
        let failed = match once(action, files).await {
            Ok(outcome) => {
                tracing::info!(%action, attempt, outcome = outcome, "told the app of the change");
                return true;
            }
            Err(failed) => failed,
        };
        if attempt >= patience.tries {
            tracing::warn!(%action, attempts = attempt, reason = failed.why, hint = failed.hint, "the app was not told of the change");
            break;
        }
        tracing::debug!(%action, attempt, reason = failed.why, "the app was not told yet, trying again");
        sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        pause *= 2;
    }
    false
}

async fn once(action: &OnChange, files: &Path) -> Result<String, Failed> {
    match action {
        OnChange::Signal(signal, process) => send(*signal, process),
        OnChange::Touch(place) => touch(files, place),
        OnChange::Post(url) => timeout(HTTP, post(url)).await.unwrap_or_else(|_| {
            Err(Failed::new(
                format!("no answer within {}", humantime::format_duration(HTTP)),
                "",
            ))
        }),
    }
}

impl Failed {
    fn new(why: impl Into<String>, hint: &'static str) -> Self {
        Self { why: why.into(), hint }
    }
}

/// A running process of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    /// Its own name (`comm`, proc_pid_comm(5)): the program's, at most 15 bytes, unless the process has changed it.
    name: Vec<u8>,
    /// The program as it was called, without its directory.
    called: Vec<u8>,
}

/// Signals every process of this name that is not another one's child: a server that forks tells its children itself, and a
/// child may take the signal for its end.
fn send(signal: Signal, name: &str) -> Result<String, Failed> {
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
        .map_err(|error| Failed::new(format!("cannot look for processes in /proc: {error}"), ""))?;
    let targets = named(&running, name, getpid().as_raw_nonzero().get());
    let (mut sent, mut refused) = (0, Vec::new());
    for pid in &targets {
        match kill_process(*pid, signal) {
            Ok(()) => sent += 1,
            // It has just ended.
            Err(Errno::SRCH) => {}
            Err(error) => refused.push(format!("process {} ({name}): {error}", pid.as_raw_nonzero())),
        }
    }
    // With another try for the rest, those that got it would get it again.
    match (sent, refused.len()) {
        (0, 0) => Err(Failed::new(
            format!("no process is called {name}"),
            "it is the program's own name, such as nginx; the pod needs shareProcessNamespace: true",
        )),
        (0, _) => Err(Failed::new(
            refused.join(", "),
            "it runs as another user than podkey-sidecar: declare the same runAsUser for the pod and its containers",
        )),
        (_, 0) => Ok(format!("processes signalled: {sent}")),
        (_, more) => Ok(format!("processes signalled: {sent}; not allowed: {more}")),
    }
}

/// Those of this name whose parent has another one. Never ourselves, nor process 1: it holds the pod together.
fn named(running: &[Process], name: &str, own: i32) -> Vec<Pid> {
    let is_named = |process: &&Process| process.name == name.as_bytes() || process.called == name.as_bytes();
    let all: Vec<&Process> = running.iter().filter(is_named).collect();
    all.iter()
        .filter(|process| process.pid > 1 && process.pid != own)
        .filter(|process| !all.iter().any(|other| other.pid == process.parent && other.pid > 1))
        .filter_map(|process| Pid::from_raw(process.pid))
        .collect()
}

/// What runs here. Processes that end meanwhile, or that are only waited for, are left out.
fn processes(proc: &Path) -> io::Result<Vec<Process>> {
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
    let stat = head(&directory.join("stat"))?;
    // `PID (NAME) STATE PARENT …`, and a name may have parentheses of its own (proc_pid_stat(5)).
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
    let command = head(&directory.join("cmdline"))?;
    let program = command.split(|b| *b == 0).next()?;
    let called = program.rsplit(|b| *b == b'/').next()?.to_vec();
    Some(Process {
        pid,
        parent,
        name,
        called,
    })
}

fn head(file: &Path) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).ok()?;
    opened.take(MAX_COMMAND as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Makes the file, empty and readable for all, or gives it the present as its time. No symbolic link is followed, in no part
/// of its path.
fn touch(files: &Path, place: &str) -> Result<String, Failed> {
    let failed = |what: &str, error: Errno| {
        Failed::new(
            format!("cannot {what}: {error}"),
            match error {
                Errno::LOOP | Errno::NOTDIR => "secrets are delivered there: touch a file in another place",
                _ => "",
            },
        )
    };
    let (parent, name) = place.rsplit_once('/').unwrap_or(("", place));
    let mut directory = openat(rustix::fs::CWD, files, files::DIRECTORY, Mode::empty())
        .map_err(|error| failed("open the directory of the files", error))?;
    for segment in parent.split('/').filter(|segment| !segment.is_empty()) {
        directory = files::enter(&directory, segment).map_err(|error| failed("open its directory", error))?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let opened = openat(&directory, name, flags, mode).map_err(|error| failed("open it", error))?;
    let opened = std::fs::File::from(opened);
    let touched = opened.metadata().and_then(|found| match found.is_file() {
        false => Err(io::Error::other("it is no regular file")),
        // The umask may have taken bits away.
        true => {
            rustix::fs::fchmod(&opened, mode)?;
            opened.set_modified(SystemTime::now())
        }
    });
    match touched {
        Ok(()) => Ok("touched".into()),
        Err(error) => Err(Failed::new(format!("cannot touch it: {error}"), "")),
    }
}

/// Asks for a reload. What is answered but its status is not read; a redirection is no success.
async fn post(url: &LoopbackUrl) -> Result<String, Failed> {
    let failed =
        |error: &dyn fmt::Display| Failed::new(error.to_string(), "does the app listen on the loopback address?");
    let stream = TcpStream::connect(url.address())
        .await
        .map_err(|error| failed(&error))?;
    let (mut sender, connection) = http1::Builder::new()
        // Holds the head of the answer.
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(url.target())
        .header(header::HOST, url.address().to_string())
        // Some servers wait for a body, or answer 411, without it.
        .header(header::CONTENT_LENGTH, 0)
        .header(header::USER_AGENT, HeaderValue::from_static(crate::http::USER_AGENT))
        .body(Empty::<Bytes>::new())
        .map_err(|_| Failed::new("its path makes no valid request", ""))?;
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // The connection's end ends the wait for the answer too, if there is none.
        _ = connection => answer.await,
    };
    let status = answer.map_err(|error| failed(&error))?.status();
    match status.is_success() {
        true => Ok(format!("status {}", status.as_u16())),
        false => Err(Failed::new(
            format!("the app answered with status {}", status.as_u16()),
            "",
        )),
    }
}

#[cfg(test)]
mod tests;
