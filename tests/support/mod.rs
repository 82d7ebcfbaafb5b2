//! Real parts for the tests and the demo: a certificate authority, a cluster that signs and reviews service-account
//! tokens, an OpenBao server, a server that misbehaves on demand, and podkey's two programs.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(unreachable_pub, reason = "shared by several test binaries")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code outside of #[test] functions"
)]

#[cfg(feature = "agent")]
pub mod agent;
pub mod ca;
pub mod fake_vault;
#[cfg(feature = "agent")]
pub mod github;
pub mod http;
pub mod jwt;
pub mod openbao;
pub mod plain;
#[cfg(feature = "agent")]
pub mod postgres;
#[cfg(feature = "agent")]
pub mod rendered;
#[cfg(feature = "agent")]
pub mod runner;
#[cfg(feature = "agent")]
pub mod sidecar;
pub mod signals;
#[cfg(feature = "webhook")]
pub mod webhook;

/// One of our two programs, as it was built for this test, or for the example that runs beside it.
pub fn program(name: &str) -> std::path::PathBuf {
    signals::children_start_with_defaults();
    let built = match name {
        "podkey" => option_env!("CARGO_BIN_EXE_podkey"),
        _ => option_env!("CARGO_BIN_EXE_podkey-agent"),
    };
    built.map_or_else(
        || std::env::current_exe().unwrap().parent().unwrap().with_file_name(name),
        Into::into,
    )
}
