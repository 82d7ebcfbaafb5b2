//! The names of podkey's containers and volumes: the pod must not use them, unless podkey has been here before.

use crate::inject::pod::Container;
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::Freshness;
use crate::inject::survey::Survey;
use crate::inject::words::names::{CONTAINERS, INIT_CONTAINER, VOLUMES, is_own};

pub(super) fn check(survey: &Survey<'_>, problems: &mut Problems) {
    let is_injected = survey.has_podkeys_parts();
    let own = match (is_injected, survey.freshness) {
        (true, Freshness::Refreshed) => &CONTAINERS[..],
        (true, Freshness::WrittenOnce) | (false, _) => &[INIT_CONTAINER],
    };
    let init_containers = survey.pod.init_containers().iter();
    for container in init_containers.filter(|container| !own.contains(&&*container.name)) {
        check_container("spec.initContainers", container, problems);
    }
    for container in &survey.pod.spec.containers {
        check_container("spec.containers", container, problems);
    }
    for volume in survey.pod.volumes() {
        if !is_injected && VOLUMES.contains(&&*volume.name) {
            problems.push_with(|| {
                let name = quoted(&volume.name);
                (
                    "spec.volumes",
                    format!("the name {name} belongs to podkey: give the volume another name"),
                )
            });
        }
    }
}

fn check_container(place: &'static str, container: &Container<'_>, problems: &mut Problems) {
    if is_own(&container.name) {
        problems.push_with(|| {
            let name = quoted(&container.name);
            (
                place,
                format!("the name {name} belongs to podkey: give the container another name"),
            )
        });
    }
}
