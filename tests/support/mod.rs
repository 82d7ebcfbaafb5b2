//! Real parts for the tests and the demo: a certificate authority, a cluster that signs and reviews service-account
//! tokens, an OpenBao server, a server that misbehaves on demand, and the agent's binary.
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
pub mod http;
pub mod jwt;
pub mod openbao;
