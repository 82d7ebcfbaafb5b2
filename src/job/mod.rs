//! The secrets that a GitHub Actions job gets through the runner's hooks, and the conditions. Pure: the hooks pass in the
//! secrets, the runner's variables and random numbers, and write the results.
//!
//! - [`masks`]: the texts that the runner hides in its log. Read its rules first.
//! - `export`: the values as the runner reads them from the file `GITHUB_ENV`.
//! - `commands`: masks, annotations and plain lines, as the runner reads them from the hook's output.
//! - `facts`, `policy`, `placeholders`: the runner's facts about the job, whether the job may have the secrets, and the paths
//!   of the secrets for this job.
//! - `summary`: the names of the variables and files that the job got, without any value.
//!
//! The source of the runner's behaviour is its code (github.com/actions/runner, 2.336.0).

pub(crate) mod commands;
pub(crate) mod export;
pub(crate) mod facts;
pub mod masks;
pub(crate) mod placeholders;
pub(crate) mod policy;
pub(crate) mod summary;
