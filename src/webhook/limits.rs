//! How much the webhook may hold at a time: one table, whose sum is checked when this is compiled, and what the process's
//! limit of open files makes of it.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The memory limit in our manifests, for which the table below is made.
const MEMORY_BYTES: usize = 128 * MIB;

/// The program itself: code, runtime, certificates, metrics, what the allocator cannot give back at once.
const PROGRAM_BYTES: usize = 14 * MIB;
/// The log's queue: [`crate::telemetry`] has at most 128 lines waiting, of 32 KiB each.
const LOG_BYTES: usize = 4 * MIB;

/// Connections at a time. API servers need a handful, and each of them at most as many as it has changes under way
/// (`--max-mutating-requests-inflight`: 200).
pub(super) const MAX_CONNECTIONS: usize = 352;
/// Connections that were cut a moment ago, and have not given back what they hold.
pub(super) const ENDING_CONNECTIONS: usize = 16;
/// What each connection holds without asking: hyper's two buffers (8 KiB each, and as much again for what it hands on),
/// rustls's (a record that comes in, one that goes out; while hands are shaken, one message of at most 64 KiB instead),
/// parsed headers, and a body and an answer of the usual size.
const CONNECTION_BYTES: usize = 96 * KIB;
/// The kernel's two buffers of each socket, which count where limits are cgroups of version 2. The kernel doubles what we
/// ask for.
const SOCKET_BYTES: usize = 2 * (RECEIVE_BUFFER_BYTES + SEND_BUFFER_BYTES);
/// What we ask of the kernel for what comes in. With less, large bodies would come in slowly.
pub(super) const RECEIVE_BUFFER_BYTES: usize = 32 * KIB;
/// What we ask of the kernel for what goes out.
pub(super) const SEND_BUFFER_BYTES: usize = 16 * KIB;
/// The longest request line with all headers. The API server sends less than 1 KiB. (hyper takes no smaller buffer.)
pub(super) const MAX_HEADER_BYTES: usize = 8 * KIB;
/// The API server sends about ten.
pub(super) const MAX_HEADERS: usize = 64;
/// What TLS keeps of an answer that the client does not read: one record.
pub(super) const TLS_BUFFER_BYTES: usize = 16 * KIB;

/// A body up to this size is part of its connection's price. Most reviews are smaller.
pub(super) const USUAL_BODY_BYTES: usize = 32 * KIB;
/// A body up to this size comes out of a part of its own, so that no larger one holds it up.
pub(super) const SMALL_BODY_BYTES: usize = 256 * KIB;
/// The API server accepts objects up to 3 MiB, and a review of an update carries two.
pub(super) const MAX_BODY_BYTES: usize = 8 * MIB;
/// An answer up to this size is part of its connection's price.
pub(super) const USUAL_ANSWER_BYTES: usize = 16 * KIB;
/// The longest patch: `inject` adds at most 512 KiB to the pod's containers, and podkey's own containers with two plans of at
/// most 96 KiB, each escaped.
const MAX_PATCH_BYTES: usize = MIB;

/// All bodies that are larger than usual, and small.
pub(super) const SMALL_BODIES_BYTES: usize = 4 * MIB;
/// All bodies that are large.
pub(super) const LARGE_BODIES_BYTES: usize = 12 * MIB;
/// All answers that are larger than usual, until their last byte is with TLS.
pub(super) const ANSWERS_BYTES: usize = 4 * MIB;

/// Decisions at a time: one on each worker thread.
pub(crate) const MAX_WORKERS: usize = 4;
/// What a decision takes besides body and answer: the pod's parsed lists, which are bounded, the patch, and the answer
/// before it is known how large it is.
const DECISION_BYTES: usize = 5 * MIB;

const _: () = {
    let connections = (MAX_CONNECTIONS + ENDING_CONNECTIONS) * (CONNECTION_BYTES + SOCKET_BYTES);
    let reviews = SMALL_BODIES_BYTES + LARGE_BODIES_BYTES + ANSWERS_BYTES + MAX_WORKERS * DECISION_BYTES;
    assert!(PROGRAM_BYTES + LOG_BYTES + connections + reviews <= MEMORY_BYTES);
    assert!(MAX_BODY_BYTES <= LARGE_BODIES_BYTES && 2 * MAX_PATCH_BYTES <= ANSWERS_BYTES);
};

/// The webhook's `timeoutSeconds` in our manifests: an answer that takes longer reaches nobody. From a request's first byte
/// to its decision.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// From the decision to the answer's last byte.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// After the grace time: how long requests that are under way may still take.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections of the admin listener at a time. The kubelet and Prometheus need a handful.
const MAX_ADMIN_CONNECTIONS: usize = 64;
/// Files that are no connection: listeners, the runtime's own, certificates, calls to the API server, the log.
const OTHER_FILES: usize = 48;
/// As few as these are tried for however few files the process may open.
const MIN_CONNECTIONS: usize = 8;

/// What this process may hold, as far as that is known only at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// How many files the process may have open.
    pub(super) open_files: usize,
    /// Connections of the webhook's listener.
    pub(super) connections: usize,
    /// Connections of the admin listener.
    pub(super) admin_connections: usize,
}

impl Limits {
    /// Raises the process's limit of open files as far as it may, and derives the others.
    pub(super) fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            // It has what it had.
            Err(_) => current,
        };
        // None is no limit.
        let open_files = current.and_then(|files| usize::try_from(files).ok());
        Self::of(open_files.unwrap_or(usize::MAX))
    }

    fn of(open_files: usize) -> Self {
        let admin_connections = MAX_ADMIN_CONNECTIONS.min(open_files / 8).max(MIN_CONNECTIONS);
        let others = OTHER_FILES + ENDING_CONNECTIONS + admin_connections + ENDING_CONNECTIONS;
        let connections = MAX_CONNECTIONS.min(open_files.saturating_sub(others));
        Self {
            open_files,
            connections: connections.max(MIN_CONNECTIONS),
            admin_connections,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_may_open_few_files_serves_fewer_connections() {
        let limits = |open_files| {
            let limits = Limits::of(open_files);
            (limits.connections, limits.admin_connections)
        };
        assert_eq!(limits(usize::MAX), (352, 64));
        assert_eq!(limits(1024), (352, 64));
        assert_eq!(limits(256), (144, 32));
        assert_eq!(limits(64), (8, 8));
        for open_files in 150..1000 {
            let (connections, admin) = limits(open_files);
            assert!(connections + admin + 2 * ENDING_CONNECTIONS + OTHER_FILES <= open_files);
        }
    }
}
