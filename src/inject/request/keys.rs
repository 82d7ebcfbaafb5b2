//! The keys of podkey's annotations: the only place where they are spelled.

/// What all of them begin with.
pub const PREFIX: &str = "podkey.dev/";

pub(crate) const CONNECTION: &str = "podkey.dev/connection";
pub(crate) const ROLE: &str = "podkey.dev/role";
pub(crate) const FILES: &str = "podkey.dev/files";
pub(crate) const CONTAINERS: &str = "podkey.dev/containers";
pub(crate) const AUTH_MOUNT: &str = "podkey.dev/auth-mount";
pub(crate) const ENV: &str = "podkey.dev/env";
pub(crate) const EXPORT: &str = "podkey.dev/export";
pub(crate) const MASK: &str = "podkey.dev/mask";
pub(crate) const JOB_ENV: &str = "podkey.dev/job-env";
pub(crate) const JOB_POLICY: &str = "podkey.dev/job-policy";
pub(crate) const JOB_TEMP: &str = "podkey.dev/job-temp";
pub(crate) const REFRESH: &str = "podkey.dev/refresh";
pub(crate) const ON_CHANGE: &str = "podkey.dev/on-change";
pub(crate) const ON_FAILURE: &str = "podkey.dev/on-failure";
pub(crate) const JOB_HOOKS: &str = "podkey.dev/job-hooks";
pub(crate) const IGNORE_NOT_FOUND: &str = "podkey.dev/ignore-not-found";
/// The annotation that the webhook writes. Information only: nothing is decided by it.
pub const INJECTED: &str = "podkey.dev/injected";

/// Every one of them.
pub(crate) const KEYS: [&str; 17] = [
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
