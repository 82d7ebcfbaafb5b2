//! ARC's own controller and listener (from its Go module, with its charts) make the runner pods. GitHub's service is a
//! stand-in, and so is the runner: `tests/arc`. `PODKEY_ARC_SOURCE` names a checkout of another version when the cluster goes
//! up. What each version does is in docs/guides/with-arc.md.

mod burst;
mod changes;
mod faults;
mod github;
mod modes;
mod runners;
pub mod scale_set;
