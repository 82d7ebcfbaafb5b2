//! The table of rooms: which room may use which, and which rooms are pure. It says the same as the picture in `src/lib.rs`.
//! Inside `inject` it says more: the layers of a decision, the top layer first.

/// Names of `plan` that say where things are in the pod's volumes: of `agent`, only `agent::volume` knows them.
pub(crate) const OF_THE_VOLUME: [&str; 13] = [
    "VOLUME_DIR",
    "TOKEN_DIR",
    "TOKEN_FILE",
    "BIN_DIR",
    "AGENT",
    "HANDOVER_DIR",
    "HANDOVER_FILE",
    "KUBELET_ENV_DIR",
    "KUBELET_ENV_FILE",
    "FILES_DIR",
    "SINGLE_DIR",
    "CURRENT",
    "STATUS",
];

/// Each room with the other rooms it may use. Nothing points upward; `webhook` and `agent` never see each other. A room
/// inside a room (`cli::migrate::vault_action`) has its own line: the outer room's line is not for it.
pub(crate) const MAY_USE: [(&str, &[&str]); 34] = [
    (
        "cli",
        &[
            "cli::inject::offline",
            "cli::migrate::vault_action",
            "cli::migrate::vault_k8s",
            "inject",
        ],
    ),
    ("cli::inject::offline", &["inject"]),
    (
        "cli::migrate::vault_action",
        &["cli::migrate::output", "inject", "env", "plan", "text"],
    ),
    (
        "cli::migrate::vault_k8s",
        &[
            "cli::inject::offline",
            "cli::migrate::output",
            "inject",
            "plan",
            "template",
        ],
    ),
    ("cli::migrate::output", &[]),
    ("webhook", &["cluster", "inject", "telemetry"]),
    ("cluster", &[]),
    (
        "agent",
        &[
            "agent::volume",
            "vault",
            "http",
            "schedule",
            "render",
            "job",
            "env",
            "template",
            "secret",
            "plan",
            "telemetry",
        ],
    ),
    ("agent::volume", &["secret", "plan"]),
    ("vault", &["http", "schedule", "secret", "plan"]),
    ("http", &["secret", "text", "telemetry"]),
    (
        "inject",
        &[
            "inject::patch",
            "inject::check",
            "inject::parts",
            "inject::survey",
            "inject::request",
            "inject::config",
            "inject::job_policy",
            "inject::yaml",
            "inject::pod",
            "inject::kubernetes",
            "inject::problem",
            "inject::words",
            "plan",
        ],
    ),
    (
        "inject::patch",
        &[
            "inject::check",
            "inject::parts",
            "inject::survey",
            "inject::request",
            "inject::config",
            "inject::pod",
            "inject::words",
            "plan",
        ],
    ),
    (
        "inject::check",
        &[
            "inject::parts",
            "inject::survey",
            "inject::request",
            "inject::config",
            "inject::pod",
            "inject::problem",
            "inject::words",
            "inject::kubernetes",
            "plan",
        ],
    ),
    (
        "inject::parts",
        &[
            "inject::survey",
            "inject::request",
            "inject::config",
            "inject::pod",
            "inject::problem",
            "inject::words",
            "inject::kubernetes",
            "plan",
        ],
    ),
    (
        "inject::survey",
        &[
            "inject::request",
            "inject::config",
            "inject::pod",
            "inject::words",
            // What sets variables depends on the version of the cluster.
            "inject::kubernetes",
            "plan",
        ],
    ),
    (
        "inject::request",
        &[
            "inject::job_policy",
            "inject::yaml",
            "inject::pod",
            "inject::problem",
            "inject::words",
            "env",
            "plan",
            "template",
            "text",
        ],
    ),
    (
        "inject::config",
        &[
            "inject::job_policy",
            "inject::yaml",
            "inject::pod",
            "inject::problem",
            "inject::words",
            "inject::kubernetes",
            "plan",
            "text",
        ],
    ),
    (
        "inject::job_policy",
        &["inject::yaml", "inject::problem", "inject::words", "plan"],
    ),
    ("inject::yaml", &["inject::problem"]),
    ("inject::pod", &["inject::words", "plan", "text"]),
    ("inject::problem", &["plan", "text"]),
    ("inject::words", &[]),
    ("inject::kubernetes", &[]),
    ("env", &["secret", "plan", "json", "text"]),
    ("render", &["secret", "plan", "template", "json", "text"]),
    ("job", &["secret", "plan", "json", "text"]),
    ("schedule", &[]),
    ("plan", &["template", "text"]),
    ("template", &["text"]),
    ("secret", &[]),
    ("json", &[]),
    ("text", &[]),
    ("telemetry", &[]),
];

/// What `src/lib.rs` itself holds for all.
pub(crate) const OF_ALL: [&str; 1] = ["VERSION"];

/// The lower half: no async, no clock, no disk, no environment, no network, no threads, no log, no random source.
pub(crate) const PURE: [&str; 14] = [
    "cli::inject::offline",
    "cli::migrate::vault_action",
    "cli::migrate::vault_k8s",
    "cli::migrate::output",
    "inject",
    "env",
    "render",
    "job",
    "schedule",
    "plan",
    "template",
    "secret",
    "json",
    "text",
];

/// What a pure room may not name: each path with all below it, and each macro.
pub(crate) const IMPURE: [&str; 37] = [
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "std::os",
    "std::io",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::hash::RandomState",
    // Their order is another one in each process.
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
    "dbg!",
    "tokio",
    "tokio_rustls",
    "hyper",
    "hyper_util",
    "http_body_util",
    "axum",
    "kube",
    "rustix",
    "libc",
    "tracing",
    "tracing_subscriber",
    "fastrand",
    "getrandom",
    "rand",
    "uuid",
    "ring::rand",
    "rcgen",
    "extern crate",
];

/// What is pure all the same: randomness from a seed that is given is none.
pub(crate) const PURE_ALL_THE_SAME: [&str; 2] = ["fastrand::Rng", "fastrand::Rng::with_seed"];

/// Whole crates and modules that hold pure and impure names: a pure room names what it takes of them.
pub(crate) const TOO_WIDE: [&str; 6] = [
    "std",
    "std::*",
    "std::time::*",
    "std::collections::*",
    "std::hash::*",
    "fastrand::*",
];
