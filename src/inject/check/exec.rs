//! Variables in a container whose command the agent starts. The agent stands in front of the command, sets the variables in its
//! environment, and becomes the command: the pod's spec never holds the values.

use crate::inject::kubernetes::KubernetesVersion;
use crate::inject::parts::additions::{Additions, CommandStart};
use crate::inject::pod::{Container, Variables};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::words::keys::{CONTAINERS, ENV, ENV_DELIVERY, EXPORT};
use crate::plan::{ENV_DIR, SECRETS_DIR, Select};

/// `variables` are those of the container that podkey's variables are compared with.
pub(super) fn check(
    additions: &Additions<'_>,
    variables: &Variables<'_>,
    request: &InjectionRequest,
    problems: &mut Problems,
) {
    let container = additions.reader.container;
    // The agent would replace a variable that the container sets itself, and nobody would see why.
    for env in &request.env {
        if let Select::Value { name, .. } = &env.select {
            check_own_variable(container, name.as_str(), variables, problems);
        }
    }
    // podkey looks up no image: the pod must have the command.
    if additions.command == CommandStart::Unknown {
        problems.push_with(|| {
            (
                ENV,
                format!(
                    "needs the command of the container {}, which only its image knows: write its ENTRYPOINT as `command` \
                     (and its CMD as `args`), or leave the container out of {CONTAINERS}, or add {EXPORT}: \"false\" to \
                     get files in {SECRETS_DIR}/{ENV_DIR} instead. On Kubernetes {} or later, {ENV_DELIVERY}: kubelet needs no \
                     command",
                    quoted(&container.name),
                    KubernetesVersion::FILE_KEY_REF
                ),
            )
        });
    }
}

/// Reports a variable of podkey's that the container sets itself.
pub(super) fn check_own_variable(
    container: &Container<'_>,
    name: &str,
    variables: &Variables<'_>,
    problems: &mut Problems,
) {
    if variables.contains_key(name) {
        problems.push_with(|| {
            let container = quoted(&container.name);
            (
                ENV,
                format!("the container {container} sets {name} itself: remove it there, or here"),
            )
        });
    }
}
