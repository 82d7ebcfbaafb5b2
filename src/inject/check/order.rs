//! Readers that run before `podkey-init`. They would find directories where their files should be: the kubelet makes these.

use crate::inject::problem::{Problems, quoted};
use crate::inject::survey::Survey;
use crate::inject::words::keys::CONTAINERS;
use crate::inject::words::names::INIT_CONTAINER;

pub(super) fn check(survey: &Survey<'_>, problems: &mut Problems) {
    if survey.hooks_alone {
        return;
    }
    let init = survey.podkey_init.map_or(survey.init_position, |init| init.index);
    for early in &survey.pod.init_containers()[..init] {
        if survey.readers.contain(early) {
            problems.push_with(|| {
                let name = quoted(&early.name);
                (
                    CONTAINERS,
                    format!("{name} runs before {INIT_CONTAINER} and cannot have files: leave it out"),
                )
            });
        }
    }
}
