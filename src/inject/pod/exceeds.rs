//! Whether a pod goes beyond the ends of its lists: it is refused before anything of it is compared.

use crate::inject::patch::parts;
use crate::inject::pod::items::{
    COMMANDS, CONTAINERS, DEVICES, MOUNTS, OUR_CONTAINERS, OUR_MOUNTS, OUR_VOLUMES, VOLUMES,
};
use crate::inject::pod::{Container, Pod};

const _: () = assert!(OUR_CONTAINERS == parts::CONTAINERS.len() && OUR_VOLUMES == parts::VOLUMES.len());

/// The first list of the pod's that is longer than any cluster's, and what of it we would take.
pub(crate) fn exceeded(pod: &Pod<'_>) -> Option<(&'static str, String)> {
    let theirs = |names: &mut dyn Iterator<Item = &str>, ours: &[&str], most: usize| {
        let (own, other) = names.fold((0, 0), |(own, other), name| match ours.contains(&name) {
            true => (own + 1, other),
            false => (own, other + 1),
        });
        other + usize::saturating_sub(own, most)
    };
    let containers = theirs(
        &mut pod.all_containers().map(|container| &*container.name),
        &parts::CONTAINERS,
        OUR_CONTAINERS,
    );
    let volumes = theirs(
        &mut pod.spec.volumes.iter().flatten().map(|volume| &*volume.name),
        &parts::VOLUMES,
        OUR_VOLUMES,
    );
    let mounts = |container: &Container<'_>| {
        let mut names = container.volume_mounts.iter().flatten().map(|mount| &*mount.name);
        theirs(&mut names, &parts::VOLUMES, OUR_MOUNTS)
    };
    let mounts = pod.all_containers().map(mounts).sum();
    let devices = |container: &Container<'_>| container.volume_devices.as_deref().map_or(0, <[_]>::len);
    let devices = pod.all_containers().map(devices).sum();
    let commands = pod.all_containers().map(Container::command_bytes).sum();
    let lists = [
        ("spec.containers", containers, CONTAINERS, "items"),
        ("spec.volumes", volumes, VOLUMES, "items"),
        ("spec.containers.volumeMounts", mounts, MOUNTS, "items"),
        ("spec.containers.volumeDevices", devices, DEVICES, "items"),
        (
            "spec.containers.command",
            commands,
            COMMANDS,
            "bytes, with args, probes and lifecycle hooks,",
        ),
    ];
    let (place, _, most, what) = lists.into_iter().find(|(_, found, most, _)| found > most)?;
    Some((
        place,
        format!("has more than {most} {what}, the most that podkey accepts: use fewer"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::pod::items::{Holds as _, MOST_INNER};

    #[test]
    fn mounts_of_many_containers_together_are_not_all_kept() {
        let mounts = vec![r#"{"name":"a","mountPath":"b"}"#; 1000].join(",");
        let containers = vec![format!(r#"{{"name":"c","volumeMounts":[{mounts}]}}"#); 250].join(",");
        let pod = format!(r#"{{"metadata":{{}},"spec":{{"containers":[{containers}]}}}}"#);
        let pod = Pod::parse(&pod).unwrap();
        let kept: usize = pod.all_containers().map(|container| container.inner()).sum();
        assert!(kept <= MOST_INNER + 1000, "{kept}");
        assert_eq!(exceeded(&pod).unwrap().0, "spec.containers.volumeMounts");
    }
}
