//! The webhook's limits of memory, connections and time, and the process's limit of open files. The compiler checks the sum of
//! the memory.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The memory limit in the manifests. The sum of the parts below must not be larger.
const MEMORY_BYTES: usize = 128 * MIB;

/// The program itself: code, runtime, certificates, metrics, calls to the API server, and memory that the allocator cannot give
/// back at once.
const PROGRAM_BYTES: usize = 14 * MIB;
/// The log's queue: [`crate::telemetry`] has at most 128 lines waiting, of 32 KiB each.
const LOG_BYTES: usize = 4 * MIB;

/// The remembered reviews and their answers.
pub(super) const MEMO_BYTES: usize = 768 * KIB;

/// The most connections at a time. API servers need a few: each at most as many as it handles changes at a time
/// (`--max-mutating-requests-inflight`: 200).
pub(super) const MAX_CONNECTIONS: usize = 352;
/// The most connections that were cut a moment ago and still hold memory.
pub(super) const ENDING_CONNECTIONS: usize = 16;
/// The memory of each connection outside of the account: hyper's two buffers (8 KiB each, and as much again for the bytes that
/// hyper passes on), rustls's two records (during the handshake one message of at most 64 KiB instead), parsed headers, and a body
/// and an answer of the usual size.
const CONNECTION_BYTES: usize = 96 * KIB;
/// The kernel's two buffers of each socket, which count towards the limit of a cgroup of version 2. The kernel doubles the
/// sizes that podkey asks for.
const SOCKET_BYTES: usize = 2 * (RECEIVE_BUFFER_BYTES + SEND_BUFFER_BYTES);
/// The kernel's receive buffer. With a smaller one, large bodies would arrive slowly.
pub(super) const RECEIVE_BUFFER_BYTES: usize = 32 * KIB;
/// The kernel's send buffer.
pub(super) const SEND_BUFFER_BYTES: usize = 16 * KIB;
/// The longest request line with all headers. The API server sends less than 1 KiB. (hyper allows no smaller buffer.)
pub(super) const MAX_HEADER_BYTES: usize = 8 * KIB;
/// The most headers of a request. The API server sends about ten.
pub(super) const MAX_HEADERS: usize = 64;
/// The bytes that TLS keeps of an answer that the client does not read: one record.
pub(super) const TLS_BUFFER_BYTES: usize = 16 * KIB;

/// A body up to this size is part of [`CONNECTION_BYTES`]. Most reviews are smaller.
pub(super) const USUAL_BODY_BYTES: usize = 32 * KIB;
/// Bodies up to this size have their own part of the account, so that they never wait for larger bodies.
pub(super) const SMALL_BODY_BYTES: usize = 256 * KIB;
/// The longest body. The API server accepts objects up to 3 MiB, and the review of an update contains two objects.
pub(super) const MAX_BODY_BYTES: usize = 8 * MIB;
/// An answer up to this size is part of [`CONNECTION_BYTES`].
pub(super) const USUAL_ANSWER_BYTES: usize = 16 * KIB;
/// The longest patch: `inject` adds at most 512 KiB to the pod's containers, and podkey's own containers with two plans of at
/// most 96 KiB, each escaped.
const MAX_PATCH_BYTES: usize = MIB;

/// All bodies above the usual size, up to the small size.
pub(super) const SMALL_BODIES_BYTES: usize = 4 * MIB;
/// All larger bodies.
pub(super) const LARGE_BODIES_BYTES: usize = 12 * MIB;
/// All answers above the usual size, until TLS has their last byte.
pub(super) const ANSWERS_BYTES: usize = 4 * MIB;

/// The most decisions at a time: one on each worker thread.
pub(crate) const MAX_WORKERS: usize = 4;
/// A decision's memory besides body and answer: the pod's parsed lists (with limits of their own), the patch, and the answer
/// before its size is known.
const DECISION_BYTES: usize = 5 * MIB;

const _: () = {
    let connections = (MAX_CONNECTIONS + ENDING_CONNECTIONS) * (CONNECTION_BYTES + SOCKET_BYTES);
    let reviews = SMALL_BODIES_BYTES + LARGE_BODIES_BYTES + ANSWERS_BYTES + MAX_WORKERS * DECISION_BYTES;
    assert!(PROGRAM_BYTES + LOG_BYTES + MEMO_BYTES + connections + reviews <= MEMORY_BYTES);
    assert!(MAX_BODY_BYTES <= LARGE_BODIES_BYTES && 2 * MAX_PATCH_BYTES <= ANSWERS_BYTES);
};

/// From a request's first byte to its decision: the webhook's `timeoutSeconds` in the manifests. The API server does not read
/// a later answer.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// From the decision to the answer's last byte.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long current requests may still take after the grace time.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections of the admin listener at a time. The kubelet and Prometheus need a few.
const MAX_ADMIN_CONNECTIONS: usize = 64;
/// Open files besides connections: listeners, the runtime's, certificates, calls to the API server, the log.
const OTHER_FILES: usize = 48;
/// podkey tries to serve this number of connections even if the process may open fewer files.
const MIN_CONNECTIONS: usize = 8;

/// The limits that depend on the process's limit of open files.
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
    /// Raises the process's limit of open files as far as the system allows, and derives the other limits.
    pub(super) fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(_) => current,
        };
        // `None` means no limit.
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
