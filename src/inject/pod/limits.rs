//! How long a pod's lists may be. Checks compare two lists with each other, so each list needs a limit. No real pod comes near
//! these limits. `size` refuses a pod above a limit before podkey compares anything.

use crate::inject::words::names;
use crate::plan::MAX_FILES;

/// Each container may get a mount for each file, and the patch holds all these mounts.
pub(super) const CONTAINERS: usize = 256;
pub(super) const VOLUMES: usize = 1000;
/// Mounts of all containers together: each mount is compared with each file.
pub(super) const MOUNTS: usize = 10_000;
/// Devices of all containers together.
pub(super) const DEVICES: usize = 1000;
/// Commands, arguments, probes and lifecycle hooks of all containers together, in bytes: they are read word by word.
pub(super) const COMMANDS: usize = 1024 * 1024;

/// The parts that podkey adds do not count. Otherwise a pod at a limit would be refused when the API server calls again.
pub(super) const OUR_CONTAINERS: usize = names::CONTAINERS.len();
pub(super) const OUR_VOLUMES: usize = names::VOLUMES.len();
/// In one container: a mount for each file, one for the directory, one for the agent.
pub(super) const OUR_MOUNTS: usize = MAX_FILES + 2;

/// How many items of each list are kept when a pod is parsed: one more than a pod may have.
pub(super) const MOST_CONTAINERS: usize = CONTAINERS + OUR_CONTAINERS + 1;
pub(super) const MOST_VOLUMES: usize = VOLUMES + OUR_VOLUMES + 1;
pub(super) const MOST_MOUNTS: usize = MOUNTS + OUR_MOUNTS + 1;
pub(super) const MOST_DEVICES: usize = DEVICES + 1;

/// All mounts and devices of the containers of one list. A list that is cut here has more than a pod may have.
pub(super) const MOST_INNER: usize = MOUNTS + DEVICES + OUR_MOUNTS * (CONTAINERS + OUR_CONTAINERS);
