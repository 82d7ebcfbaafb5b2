//! The patch: RFC 6902 `add` operations on the raw pod, and nothing else. The patch replaces, removes and moves nothing of the
//! author's, so fields that podkey does not know stay as they are.
//!
//! A patch that does not apply is worse than no patch: the API server treats it as its own error, and the webhook's
//! `failurePolicy` does not cover that error. So each operation depends on what the pod has at that place.

mod build;
mod containers;
mod operations;

pub(crate) use build::build;
pub use operations::PodPatch;
