//! The paths of podkey's files in a pod, and the limits of a pod's requests. Webhook and agent take every path and limit from here.

use std::time::Duration;

/// A path below podkey's own directory, which every container reserves.
macro_rules! podkey {
    () => {
        "/podkey"
    };
    ($below:literal) => {
        concat!("/podkey/", $below)
    };
}

/// The directory of all mounts of podkey's volumes.
pub(crate) const ROOT_DIR: &str = podkey!();
/// The root of the volume `podkey-secrets`, in podkey's own containers.
pub(crate) const VOLUME_DIR: &str = podkey!("volume");
/// The directory `files` of the volume `podkey-secrets`, in the other containers.
pub const SECRETS_DIR: &str = podkey!("secrets");
/// The volume `podkey-token`, in podkey's own containers.
pub(crate) const TOKEN_DIR: &str = podkey!("token");
/// The projected service-account token, in podkey's own containers.
pub(crate) const TOKEN_FILE: &str = podkey!("token/token");
/// The volume `podkey-bin`: the agent's program, copied by `podkey-init` or as its image has it. The containers that need the
/// agent mount the volume read-only.
pub(crate) const BIN_DIR: &str = podkey!("bin");
/// Where [`BIN_DIR`] is an image: the directory of [`PLAN_FILE`] and of the outcome of `init`, which no container can write.
pub(crate) const STATE_DIR: &str = podkey!("state");
/// The plan for the job hooks, in [`STATE_DIR`]; in [`BIN_DIR`], if `podkey-init` copied the agent.
pub(crate) const PLAN_FILE: &str = "plan.json";
/// The agent's own program.
pub(crate) const AGENT: &str = podkey!("bin/podkey-agent");
/// The runner's hook before a job: a script that runs the agent beside it.
/// <https://docs.github.com/en/actions/how-tos/manage-runners/self-hosted-runners/run-scripts>
pub(crate) const JOB_STARTED: &str = podkey!("bin/job-started.sh");
/// The runner's hook after a job.
pub(crate) const JOB_COMPLETED: &str = podkey!("bin/job-completed.sh");
/// The volume `podkey-handover`, which only `podkey-init` and `podkey-sidecar` mount.
pub(crate) const HANDOVER_DIR: &str = podkey!("handover");
/// The client token and the leases that `init` hands over to the sidecar.
pub(crate) const HANDOVER_FILE: &str = podkey!("handover/handover.json");
/// When the sidecar last restarted the containers, and whether a change waits for a restart.
pub(crate) const RESTARTS_FILE: &str = podkey!("handover/restarts.json");
/// The volume `podkey-env`, in podkey's own containers. No other container mounts this volume.
pub(crate) const KUBELET_ENV_DIR: &str = podkey!("env");
/// In the volume `podkey-env`: the variables that the kubelet puts into containers (`valueFrom.fileKeyRef`).
pub(crate) const KUBELET_ENV_FILE: &str = "variables.env";
/// The beginning of a container's command: the agent sets the variables, and then executes the rest of the command.
pub(crate) const EXEC: [&str; 3] = [AGENT, "exec", "--"];

/// Below the volume's root: the files with a relative destination.
pub(crate) const FILES_DIR: &str = "files";
/// Below the volume's root: the files with an absolute destination, each mounted on its own.
pub(crate) const SINGLE_DIR: &str = "single";
/// Below the volume's root: a directory for each directory that is mounted at a path of its own.
pub(crate) const MOUNTS_DIR: &str = "mounts";
/// Below the volume's root: what `init` leaves for the containers that use the agent, mounted at [`STATE_DIR`].
pub(crate) const STATE_PLACE: &str = "state";
/// Below [`SECRETS_DIR`], in pods without `podkey-init`: the content of files with an absolute destination below [`LINKS_ROOT`]. The
/// destination is a symlink to the content.
pub(crate) const LINKED_DIR: &str = ".linked";
/// The only directory with files that the job hooks deliver by a symlink: each image has it, and each user can write there.
pub(crate) const LINKS_ROOT: &str = "/tmp";
/// Below [`FILES_DIR`], and so below [`SECRETS_DIR`]: one file for each variable, named as the variable. The hook that exports
/// the variables removes the files.
pub(crate) const ENV_DIR: &str = "env";
/// Below [`FILES_DIR`], in pods with job hooks: for each template one file with the values that it printed, which the hooks mask.
/// The started hook removes the files.
pub(crate) const PRINTED_DIR: &str = ".printed";
/// Below [`FILES_DIR`], and below each directory of [`MOUNTS_DIR`], where files are kept fresh: the symlink to the current generation
/// of the files. (The kubelet uses the same name in the volumes that it refreshes.)
pub(crate) const CURRENT: &str = "..data";
/// Beside [`CURRENT`]: the sidecar's status of each file, for programs and people.
pub(crate) const STATUS: &str = ".status.json";

/// The environment variable that carries the plan as JSON.
pub const PLAN_ENV: &str = "PODKEY_PLAN";
/// The environment variable that replaces the plan's budget.
pub const BUDGET_ENV: &str = "PODKEY_BUDGET";
/// In the `runner` container: the hook that the pod's author has set, which runs after podkey's hook. No hook: the value is empty,
/// or a reference that Kubernetes could not expand, which begins with `$(`.
pub(crate) const NEXT_JOB_STARTED_ENV: &str = "PODKEY_NEXT_JOB_STARTED";
/// In the `runner` container: the author's hook after a job, by the rules of [`NEXT_JOB_STARTED_ENV`].
pub(crate) const NEXT_JOB_COMPLETED_ENV: &str = "PODKEY_NEXT_JOB_COMPLETED";

/// The version of the plan's format that this program writes and reads.
pub(crate) const PLAN_VERSION: u32 = 1;
/// The longest plan in bytes. The kernel refuses one environment string of 128 KiB (`MAX_ARG_STRLEN`, execve(2)).
pub(crate) const MAX_PLAN_BYTES: usize = 96 * 1024;
/// The most files of one pod.
pub(crate) const MAX_FILES: usize = 64;
/// The most secrets that all templates of one pod name.
pub(crate) const MAX_TEMPLATE_REQUESTS: usize = 256;
/// The most files of one secret, if each field becomes a file.
pub(crate) const MAX_FIELD_FILES: usize = 256;
/// The limit for all rendered files together, in bytes.
pub(crate) const MAX_RENDERED_BYTES: usize = 4 * 1024 * 1024;
/// The most entries of `podkey.dev/env`; also the most of `podkey.dev/job-env`.
pub(crate) const MAX_ENV_SECRETS: usize = 256;
/// The most actions that one change starts.
pub(crate) const MAX_ON_CHANGE: usize = 8;
/// The longest budget that an operator or `PODKEY_BUDGET` may set. ARC gives up on a runner that takes longer.
pub(crate) const MAX_BUDGET: Duration = Duration::from_secs(15 * 60);
/// The budget if neither the operator nor `PODKEY_BUDGET` sets a budget.
pub(crate) const DEFAULT_BUDGET: Duration = Duration::from_secs(5 * 60);
/// The time for a job hook if the operator sets no time. The runner itself has no limit.
pub(crate) const DEFAULT_HOOK_DEADLINE: &str = "30s";
