//! Files in the place of a program that a container runs. Whoever writes the secret would decide what runs.

use std::collections::BTreeMap;

use crate::inject::check::destinations::Destinations;
use crate::inject::pod::Container;
use crate::inject::pod::programs::for_each_program;
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::files::FileRequest;
use crate::inject::survey::Survey;
use crate::inject::words::names::SECRETS_VOLUME;
use crate::plan;

/// Looks at each container that gets the files, or that mounts podkey's volume itself.
pub(super) fn check(survey: &Survey<'_>, destinations: &Destinations<'_>, problems: &mut Problems) {
    if destinations.is_empty() {
        return;
    }
    let has_files = |container: &Container<'_>| {
        let mut mounts = container.volume_mounts.iter().flatten();
        survey.readers.contain(container) || mounts.any(|mount| mount.name == SECRETS_VOLUME)
    };
    for container in survey.pod.authors_containers().filter(|container| has_files(container)) {
        if problems.is_full() {
            return;
        }
        check_container(container, destinations, problems);
    }
}

fn check_container(container: &Container<'_>, destinations: &Destinations<'_>, problems: &mut Problems) {
    let mut found: BTreeMap<usize, (&FileRequest, String)> = BTreeMap::new();
    for_each_program(container, |program| {
        if let Some(file) = destinations.at_or_above(program) {
            found.entry(file.index).or_insert_with(|| (file, program.to_owned()));
        }
    });
    for (file, program) in found.into_values() {
        problems.push_with(|| {
            let (written, container) = (quoted(&file.shown()), quoted(&container.name));
            let what = match plan::real(&file.file.path()) == plan::real(&program) {
                true => format!("{written} is a program that the container {container} runs"),
                false => format!(
                    "{written} is in the place of {}, which the container {container} runs",
                    quoted(&program)
                ),
            };
            (
                file.place_of("file"),
                format!(
                    "{what} (as its command, or in a probe or a lifecycle hook), and whoever writes the secret would decide what \
                     runs: choose another path"
                ),
            )
        });
    }
}
