//! The keys of podkey's annotations: the only place where they are spelled.

/// What all of them begin with.
pub const PREFIX: &str = "podkey.dev/";

pub(super) const CONNECTION: &str = "podkey.dev/connection";
pub(super) const ROLE: &str = "podkey.dev/role";
pub(super) const FILES: &str = "podkey.dev/files";
pub(super) const CONTAINERS: &str = "podkey.dev/containers";
pub(super) const AUTH_MOUNT: &str = "podkey.dev/auth-mount";
pub(super) const ENV: &str = "podkey.dev/env";
pub(super) const EXPORT: &str = "podkey.dev/export";
pub(super) const MASK: &str = "podkey.dev/mask";
pub(super) const JOB_ENV: &str = "podkey.dev/job-env";
pub(super) const JOB_POLICY: &str = "podkey.dev/job-policy";
pub(super) const JOB_TEMP: &str = "podkey.dev/job-temp";
pub(super) const REFRESH: &str = "podkey.dev/refresh";
pub(super) const ON_CHANGE: &str = "podkey.dev/on-change";
pub(super) const ON_FAILURE: &str = "podkey.dev/on-failure";
pub(super) const JOB_HOOKS: &str = "podkey.dev/job-hooks";
pub(super) const IGNORE_NOT_FOUND: &str = "podkey.dev/ignore-not-found";
/// The annotation that the webhook writes. Information only: nothing is decided by it.
pub const INJECTED: &str = "podkey.dev/injected";

/// Every one of them.
pub(super) const KEYS: [&str; 17] = [
    CONNECTION,
    ROLE,
    AUTH_MOUNT,
    FILES,
    ENV,
    CONTAINERS,
    REFRESH,
    ON_CHANGE,
    ON_FAILURE,
    JOB_HOOKS,
    EXPORT,
    MASK,
    JOB_ENV,
    JOB_POLICY,
    JOB_TEMP,
    IGNORE_NOT_FOUND,
    INJECTED,
];
