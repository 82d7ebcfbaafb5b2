//! Refuses a pod with a list above its limit; the limits are in `limits`.

use crate::inject::pod::container::Container;
use crate::inject::pod::limits::{
    COMMANDS, CONTAINERS, DEVICES, MOUNTS, OUR_CONTAINERS, OUR_MOUNTS, OUR_VOLUMES, VOLUMES,
};
use crate::inject::pod::view::Pod;
use crate::inject::words::names;

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
    use crate::inject::pod::limits::MOST_INNER;
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
