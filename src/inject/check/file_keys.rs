//! Variables whose value is from a file of podkey's volumes (`fileKeyRef`). The kubelet reads the file as root, for every container,
//! whether or not the container mounts the volume. So only podkey's own variables may be from there, and only in the readers.

use std::collections::BTreeMap;

use crate::inject::parts::additions::kubelet_variables;
use crate::inject::pod::EnvVar;
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::survey::Survey;
use crate::inject::words::names::VOLUMES;

/// `request` is of annotations that all parsed: else nobody knows podkey's own variables.
pub(super) fn check(survey: &Survey<'_>, request: &InjectionRequest, problems: &mut Problems) {
    for container in survey.pod.authors_containers() {
        let Some(first) = container.first_variable(|var| volume_of(var).is_some()) else {
            continue;
        };
        let own = match survey.readers.contain(container) {
            true => kubelet_variables(survey, request, container),
            false => Vec::new(),
        };
        let own: BTreeMap<_, _> = own.iter().map(|variable| (variable.name, variable)).collect();
        let is_own = |var: &EnvVar<'_>| own.get(&*var.name).is_some_and(|own| own.is_entry(var));
        let wrong = match is_own(&first) {
            true => container.first_variable(|var| volume_of(var).is_some() && !is_own(var)),
            false => Some(first),
        };
        if let Some((var, volume)) = wrong.and_then(|var| volume_of(&var).map(|volume| (var, volume))) {
            problems.push_with(|| {
                let (container, name) = (quoted(&container.name), quoted(&var.name));
                (
                    "spec.containers",
                    format!(
                        "the container {container} takes its variable {name} from {volume} (fileKeyRef), but the volume is for \
                         podkey's own variables alone: remove the variable"
                    ),
                )
            });
        }
    }
}

/// The volume of podkey's that the value is from.
fn volume_of(var: &EnvVar<'_>) -> Option<&'static str> {
    let file = var.file_key()?;
    VOLUMES.into_iter().find(|volume| *volume == file.volume_name)
}
