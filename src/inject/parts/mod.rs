//! The parts that podkey adds to a pod: mounts, variables, volumes and the plan. `check` asks whether they fit into the pod, `patch`
//! writes them.

pub(crate) mod additions;
pub(crate) mod mounts;
pub(crate) mod plan;
pub(crate) mod volumes;
