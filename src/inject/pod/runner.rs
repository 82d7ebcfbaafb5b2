//! What podkey knows of the GitHub Actions runner in an ARC pod: the container's name, the user, and the variables that make the
//! runner call other programs.

/// The container of a runner pod that runs the jobs, as ARC names it.
pub(crate) const RUNNER: &str = "runner";

/// The user of the runner's image (<https://github.com/actions/runner>, images/Dockerfile).
pub(crate) const RUNNER_UID: i64 = 1001;

/// The container of a workflow pod that runs the steps, as ARC names it.
pub(crate) const WORKFLOW_CONTAINER: &str = "job";

/// The program that the runner calls before a job.
/// <https://docs.github.com/en/actions/how-tos/manage-runners/self-hosted-runners/run-scripts>
pub(crate) const JOB_STARTED_HOOK: &str = "ACTIONS_RUNNER_HOOK_JOB_STARTED";
/// The program that the runner calls after a job.
pub(crate) const JOB_COMPLETED_HOOK: &str = "ACTIONS_RUNNER_HOOK_JOB_COMPLETED";
/// The program that makes the containers of a job. In ARC's kubernetes mode it makes pods.
/// <https://github.com/actions/runner-container-hooks>
pub(crate) const CONTAINER_HOOKS: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS";
/// The template of the pods that [`CONTAINER_HOOKS`] makes.
pub(crate) const CONTAINER_HOOK_TEMPLATE: &str = "ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE";
/// `true`: every job must name a container.
pub(crate) const REQUIRE_JOB_CONTAINER: &str = "ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER";
