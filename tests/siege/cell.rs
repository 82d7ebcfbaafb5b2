//! A memory limit for one program, as in a pod, and the peak of the program's memory.
//!
//! As root: a memory cgroup of its own, v2 or v1. Version 2 counts the buffers of sockets too, as in a pod. Version 1 counts
//! these buffers separately, and only where they have a limit of their own: the peak is then the sum of the two peaks, which
//! is never too small.
//!
//! Elsewhere: RLIMIT_AS, with [`SLACK`] for memory that is mapped and never used. Buffers of sockets do not count there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Address space above the memory limit, in bytes: 16 threads' stacks of 2 MiB each, 12 MiB of program and its data, 20 MiB for
/// arenas that the allocator has mapped and returned, or not used yet.
const SLACK: u64 = 64 * 1024 * 1024;

const NAME: &str = "podkey-siege-";

/// A limit for one program at a time. Dropping it removes the cgroup, so the program must have ended.
pub(crate) struct Cell {
    limit: u64,
    kind: Kind,
}

enum Kind {
    Unified(PathBuf),
    Legacy(PathBuf),
    AddressSpace,
}

/// The peak of the program's memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peak {
    /// In bytes. With the buffers of sockets where these count.
    pub(crate) bytes: u64,
    /// The buffers of sockets, where they are counted separately.
    pub(crate) sockets: Option<u64>,
}

impl Cell {
    /// A limit of so many bytes.
    pub(crate) fn new(limit: u64) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let kind = unified(root, limit)
            .map(Kind::Unified)
            .or_else(|_| legacy(&root.join("memory"), limit).map(Kind::Legacy))
            .unwrap_or(Kind::AddressSpace);
        Self { limit, kind }
    }

    /// A command that runs the command in its arguments under the limit, and with a limit of open files.
    pub(crate) fn command(&self, files: Files) -> Command {
        let enter = match &self.kind {
            Kind::Unified(cgroup) | Kind::Legacy(cgroup) => format!("echo $$ >'{}/cgroup.procs'", cgroup.display()),
            Kind::AddressSpace => format!("ulimit -v {}", (self.limit + SLACK) / 1024),
        };
        let files = match files {
            Files::Soft(most) => format!("ulimit -S -n {most}"),
            Files::Hard(most) => format!("ulimit -n {most}"),
        };
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{enter} && {files} && exec \"$@\""), "sh"]);
        command
    }

    /// The peak. `resident` is the program's own peak (VmHWM) in bytes, which is all that is known without a cgroup.
    pub(crate) fn peak(&self, resident: u64) -> Peak {
        match &self.kind {
            Kind::Unified(cgroup) => Peak {
                bytes: number(cgroup, "memory.peak").unwrap_or(resident),
                sockets: None,
            },
            Kind::Legacy(cgroup) => {
                let sockets = number(cgroup, "memory.kmem.tcp.max_usage_in_bytes").unwrap_or(0);
                Peak {
                    bytes: number(cgroup, "memory.max_usage_in_bytes").unwrap_or(resident) + sockets,
                    sockets: Some(sockets),
                }
            }
            Kind::AddressSpace => Peak {
                bytes: resident,
                sockets: None,
            },
        }
    }

    /// How often the kernel killed a process in the cgroup for its memory.
    pub(crate) fn kills(&self) -> u64 {
        let (cgroup, file) = match &self.kind {
            Kind::Unified(cgroup) => (cgroup, "memory.events"),
            Kind::Legacy(cgroup) => (cgroup, "memory.oom_control"),
            Kind::AddressSpace => return 0,
        };
        let text = std::fs::read_to_string(cgroup.join(file)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
            .unwrap_or(0)
    }

    /// The kind of limit, for people.
    pub(crate) fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Unified(_) => "cgroup v2",
            Kind::Legacy(_) => "cgroup v1",
            Kind::AddressSpace => "RLIMIT_AS",
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if let Kind::Unified(cgroup) | Kind::Legacy(cgroup) = &self.kind {
            let _ = std::fs::remove_dir(cgroup);
        }
    }
}

/// The limit of open files that a program starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// A soft limit, which the program may raise to the hard limit of this process.
    Soft(u32),
    /// Soft and hard: the program has no more.
    Hard(u32),
}

fn unified(root: &Path, limit: u64) -> std::io::Result<PathBuf> {
    let controllers = std::fs::read_to_string(root.join("cgroup.controllers"))?;
    if !controllers.split_whitespace().any(|name| name == "memory") {
        return Err(std::io::Error::other("no memory controller"));
    }
    // The default on most machines; it stays.
    let _ = std::fs::write(root.join("cgroup.subtree_control"), "+memory");
    prepared(root, |cgroup| {
        std::fs::write(cgroup.join("memory.max"), limit.to_string())?;
        std::fs::metadata(cgroup.join("memory.peak"))?;
        // Absent where the kernel knows no swap.
        let _ = std::fs::write(cgroup.join("memory.swap.max"), "0");
        Ok(())
    })
}

fn legacy(root: &Path, limit: u64) -> std::io::Result<PathBuf> {
    let limit = limit.to_string();
    prepared(root, |cgroup| {
        std::fs::write(cgroup.join("memory.limit_in_bytes"), &limit)?;
        std::fs::write(cgroup.join("memory.kmem.tcp.limit_in_bytes"), &limit)?;
        // Memory and swap together; absent where the kernel does not account swap.
        let _ = std::fs::write(cgroup.join("memory.memsw.limit_in_bytes"), &limit);
        Ok(())
    })
}

/// A new cgroup below `root`. Cgroups that a killed run left behind are removed.
fn prepared(root: &Path, set: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<PathBuf> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    for entry in std::fs::read_dir(root)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(NAME).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // A cgroup with a process in it stays.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let cgroup = root.join(format!("{NAME}{}-{count}", std::process::id()));
    std::fs::create_dir(&cgroup)?;
    let set = set(&cgroup).and_then(|()| enterable(&cgroup));
    if let Err(error) = set {
        let _ = std::fs::remove_dir(&cgroup);
        return Err(error);
    }
    Ok(cgroup)
}

/// Whether a process can be moved into the cgroup: the rest of the hierarchy may belong to another user.
fn enterable(cgroup: &Path) -> std::io::Result<()> {
    let enter = format!("echo $$ >'{}/cgroup.procs'", cgroup.display());
    let status = Command::new("sh").args(["-c", &enter]).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other("no process may enter"))
    }
}

fn number(cgroup: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(cgroup.join(file)).ok()?.trim().parse().ok()
}
