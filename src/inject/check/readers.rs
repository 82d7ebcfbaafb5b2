//! Readers that the pod should have, but does not have.

use crate::inject::problem::{Problems, did_you_mean, quoted};
use crate::inject::survey::Survey;
use crate::inject::survey::readers::MissingReaders;
use crate::inject::words::keys::CONTAINERS;

/// The most names of containers that are compared with the names that the author wrote, for all of these together.
const MAX_COMPARED: usize = 256;

pub(super) fn check(survey: &Survey<'_>, problems: &mut Problems) {
    match &survey.readers.missing {
        MissingReaders::Named(names) => check_named(survey, names, problems),
        MissingReaders::Implied { name, kind } => problems.push(
            CONTAINERS,
            format!("is needed: this is {kind}, but it has no container {name:?}"),
        ),
        MissingReaders::All => problems.push(CONTAINERS, "is needed: the pod has no container but a mesh's sidecar"),
    }
}

fn check_named(survey: &Survey<'_>, missing: &[&str], problems: &mut Problems) {
    if missing.is_empty() {
        return;
    }
    let containers = survey.pod.authors_containers();
    let count = containers.clone().count();
    let mut left = MAX_COMPARED;
    for name in missing {
        problems.push_with(|| {
            let names = containers.clone().map(|container| &*container.name);
            let hint = did_you_mean(name, names.take(left));
            left = left.saturating_sub(count);
            (CONTAINERS, format!("the pod has no container {}{hint}", quoted(name)))
        });
    }
}
