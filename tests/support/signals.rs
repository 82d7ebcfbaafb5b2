//! Signal dispositions of child processes. A shell that starts `make test` in the background, and `nohup`, ignore SIGINT,
//! SIGQUIT or SIGHUP, and each child inherits an ignored signal (POSIX, `exec`). A handled signal is reset to its default action
//! by `exec`: so a test process handles the signals that it would otherwise hand on as ignored.

use std::fs;
use std::sync::Once;

use tokio::signal::unix::{SignalKind, signal};

/// From here on every child of this process starts with the default action for SIGHUP, SIGINT, SIGQUIT and SIGTERM. This
/// process itself goes on ignoring the signals that it ignored before.
pub fn children_start_with_defaults() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ignored = ignored();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            for kind in [
                SignalKind::hangup(),
                SignalKind::interrupt(),
                SignalKind::quit(),
                SignalKind::terminate(),
            ] {
                if ignored & 1 << (kind.as_raw_value() - 1) != 0 {
                    // The handler stays for the life of the process, also without a receiver.
                    drop(signal(kind).unwrap());
                }
            }
        });
    });
}

/// The signals that this process ignores, the lowest bit for signal 1 (`proc_pid_status(5)`, `SigIgn`).
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}
