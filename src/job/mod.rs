//! What a GitHub Actions job gets through the runner's hooks, and on what conditions. Pure: the hooks bring the secrets,
//! the runner's variables and the randomness, and write what comes out.
//!
//! - [`masks`]: what of the values the runner is told to hide in its log. Read its rule first.
//! - [`export`]: the values as the runner reads them from the file `GITHUB_ENV`.
//! - [`commands`]: masks, annotations and plain lines, as the runner reads them from the hook's output.
//! - [`facts`], [`policy`], [`placeholders`]: what the runner says of the job, whether such a job may have the secrets, and
//!   which secrets are meant for it.
//! - [`summary`]: what the job was given, without any value.
//!
//! How the runner behaves is taken from its source (github.com/actions/runner, 2.336.0).

#[cfg(feature = "agent")]
pub mod commands;
#[cfg(feature = "agent")]
pub mod export;
#[cfg(feature = "agent")]
pub mod facts;
#[cfg(feature = "agent")]
pub mod masks;
#[cfg(feature = "agent")]
pub mod placeholders;
#[cfg(feature = "agent")]
pub mod policy;
#[cfg(feature = "agent")]
pub mod summary;
