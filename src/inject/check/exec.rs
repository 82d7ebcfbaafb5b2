//! Variables where no job hooks export them: the agent stands in front of the containers' own commands, sets the variables in
//! its environment, and becomes the command. The values are never in the pod's spec.

use crate::inject::check::hooks;
use crate::inject::pod::{Container, Pod, Text, Variables};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::request::keys::ENV;
use crate::plan::{EXEC, Select};

/// Whether the agent is to start the containers' commands.
pub(crate) fn is_on(pod: &Pod<'_>, request: &InjectionRequest) -> bool {
    // Nothing can be said of what a value means that does not parse.
    let unclear = request.job_hooks.is_invalid() || request.export.is_invalid();
    let exports = !request.env.is_empty() && request.exports();
    // Those of a workflow pod's steps are no children of its command.
    exports && !unclear && !hooks::are_on(pod, request) && !pod.is_workflow()
}

/// What must stand in front of the container's command, and does not yet. No image is looked up: the command must be in
/// the pod.
pub(crate) fn words(container: &Container<'_>, problems: &mut Problems) -> &'static [&'static str] {
    let command = container.command();
    if command.is_empty() {
        problems.push_with(|| {
            (
                ENV,
                format!(
                    "needs the command of the container {}, which only its image knows: write its ENTRYPOINT as `command` \
                     (and its CMD as `args`), or leave it out of podkey.dev/containers, or add podkey.dev/export: \"false\" to \
                     get files in /podkey/secrets/env instead",
                    quoted(&container.name)
                ),
            )
        });
        return &[];
    }
    // Another webhook may have put its own program in front of ours, and ours into the arguments.
    let ours = |words: &[Text<'_>]| {
        let mut windows = words.windows(EXEC.len());
        windows.any(|words| words.iter().map(|word| &**word).eq(EXEC))
    };
    match ours(&command) || ours(&container.args()) {
        true => &[],
        false => &EXEC,
    }
}

/// A variable that the container sets itself would be replaced, and nobody would see why.
pub(crate) fn check_env(
    container: &Container<'_>,
    present: &Variables<'_>,
    request: &InjectionRequest,
    problems: &mut Problems,
) {
    for env in &request.env {
        if let Select::Value { name, .. } = &env.select
            && present.contains_key(name.as_str())
        {
            problems.push_with(|| {
                let container = quoted(&container.name);
                (
                    ENV,
                    format!("the container {container} sets {name} itself: remove it there, or here"),
                )
            });
        }
    }
}
