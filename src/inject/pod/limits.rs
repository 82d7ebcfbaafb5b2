//! How long a pod's lists may be. Checks compare two lists with each other, so each list needs a limit. No real pod comes near
//! these limits. podkey refuses a pod above a limit before it compares anything.

use crate::inject::patch::names;
use crate::inject::pod::{Container, Pod};
use crate::plan::MAX_FILES;

/// Each container may get a mount for each file, and the patch holds all these mounts.
const CONTAINERS: usize = 256;
const VOLUMES: usize = 1000;
/// Mounts of all containers together: each mount is compared with each file.
const MOUNTS: usize = 10_000;
/// Devices of all containers together.
const DEVICES: usize = 1000;
/// Commands, arguments, probes and lifecycle hooks of all containers together, in bytes: they are read word by word.
const COMMANDS: usize = 1024 * 1024;

/// The parts that podkey adds do not count. Otherwise a pod at a limit would be refused when the API server calls again.
const OUR_CONTAINERS: usize = names::CONTAINERS.len();
const OUR_VOLUMES: usize = names::VOLUMES.len();
/// In one container: a mount for each file, one for the directory, one for the agent.
const OUR_MOUNTS: usize = MAX_FILES + 2;

/// How many items of each list are kept when a pod is parsed: one more than a pod may have.
pub(super) const MOST_CONTAINERS: usize = CONTAINERS + OUR_CONTAINERS + 1;
pub(super) const MOST_VOLUMES: usize = VOLUMES + OUR_VOLUMES + 1;
pub(super) const MOST_MOUNTS: usize = MOUNTS + OUR_MOUNTS + 1;
pub(super) const MOST_DEVICES: usize = DEVICES + 1;

/// All mounts and devices of the containers of one list. A list that is cut here has more than a pod may have.
pub(super) const MOST_INNER: usize = MOUNTS + DEVICES + OUR_MOUNTS * (CONTAINERS + OUR_CONTAINERS);

/// The first list of the pod that is above its limit: its place, and the rest of the sentence.
pub(crate) fn exceeded(pod: &Pod<'_>) -> Option<(&'static str, String)> {
    let containers = authors(
        pod.all_containers().map(|container| &*container.name),
        &names::CONTAINERS,
        OUR_CONTAINERS,
    );
    let volumes = pod.volumes().iter().map(|volume| &*volume.name);
    let volumes = authors(volumes, &names::VOLUMES, OUR_VOLUMES);
    let mounts = |container: &Container<'_>| {
        let mounts = container.volume_mounts.iter().flatten();
        authors(mounts.map(|mount| &*mount.name), &names::VOLUMES, OUR_MOUNTS)
    };
    let devices = |container: &Container<'_>| container.volume_devices.as_deref().map_or(0, <[_]>::len);
    let lists = [
        ("spec.containers", containers, CONTAINERS, "items"),
        ("spec.volumes", volumes, VOLUMES, "items"),
        (
            "spec.containers.volumeMounts",
            pod.all_containers().map(mounts).sum(),
            MOUNTS,
            "items",
        ),
        (
            "spec.containers.volumeDevices",
            pod.all_containers().map(devices).sum(),
            DEVICES,
            "items",
        ),
        (
            "spec.containers.command",
            pod.all_containers().map(Container::command_bytes).sum(),
            COMMANDS,
            "bytes, with args, probes and lifecycle hooks,",
        ),
    ];
    let (place, _, most, unit) = lists.into_iter().find(|(_, found, most, _)| found > most)?;
    Some((
        place,
        format!("has more than {most} {unit}, the most that podkey accepts: use fewer"),
    ))
}

/// How many of the names count. Names of podkey's do not count, up to as many as podkey adds.
fn authors<'n>(names: impl Iterator<Item = &'n str>, ours: &[&str], most_ours: usize) -> usize {
    let (own, other) = names.fold((0, 0), |(own, other), name| match ours.contains(&name) {
        true => (own + 1, other),
        false => (own, other + 1),
    });
    other + usize::saturating_sub(own, most_ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::pod::list::ListItem as _;

    #[test]
    fn mounts_of_many_containers_together_are_not_all_kept() {
        let mounts = vec![r#"{"name":"a","mountPath":"b"}"#; 1000].join(",");
        let containers = vec![format!(r#"{{"name":"c","volumeMounts":[{mounts}]}}"#); 250].join(",");
        let pod = format!(r#"{{"metadata":{{}},"spec":{{"containers":[{containers}]}}}}"#);
        let pod = Pod::parse(&pod).unwrap();
        let kept: usize = pod.all_containers().map(|container| container.inner_items()).sum();
        assert!(kept <= MOST_INNER + 1000, "{kept}");
        assert_eq!(exceeded(&pod).unwrap().0, "spec.containers.volumeMounts");
    }
}
