//! How much of a pod's lists is looked at: where two lists are compared with each other, each has an end. The lists here end
//! where no cluster's would, and a pod that goes beyond is refused before anything is compared.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};

use super::parts;
use super::pod::{Container, Pod, Volume, VolumeDevice, VolumeMount};
use crate::plan::MAX_FILES;

/// Each of them may get a mount for each file, and the patch holds them all.
const CONTAINERS: usize = 256;
const VOLUMES: usize = 1000;
/// Of all containers together: each is compared with each file.
const MOUNTS: usize = 10_000;
const DEVICES: usize = 1000;
/// All that the containers run, in bytes, which is read word by word.
const COMMANDS: usize = 1024 * 1024;

/// What we add does not count, or a pod at the limit would be refused on our second visit.
const OUR_CONTAINERS: usize = parts::CONTAINERS.len();
const OUR_VOLUMES: usize = parts::VOLUMES.len();
/// In one container: a mount for each file, that of the directory, that of the agent.
const OUR_MOUNTS: usize = MAX_FILES + 2;

/// The most items of each list that are kept when a pod is read: one more than any pod may have.
pub(super) const MOST_CONTAINERS: usize = CONTAINERS + OUR_CONTAINERS + 1;
pub(super) const MOST_VOLUMES: usize = VOLUMES + OUR_VOLUMES + 1;
pub(super) const MOST_MOUNTS: usize = MOUNTS + OUR_MOUNTS + 1;
pub(super) const MOST_DEVICES: usize = DEVICES + 1;

/// All mounts and devices of the containers of one list. A list that is cut there holds more than any pod may have.
const MOST_INNER: usize = MOUNTS + DEVICES + OUR_MOUNTS * (CONTAINERS + OUR_CONTAINERS);

/// A list of which the first `MOST` items are kept, and the rest passed over: a byte of a pod must not become a hundred of
/// memory.
#[derive(Debug)]
pub struct Items<T, const MOST: usize>(Vec<T>);

/// What an item brings with it: the lists of all containers must have an end together, not only each for itself.
trait Holds {
    /// How many items of its own it has.
    fn inner(&self) -> usize {
        0
    }
}

impl Holds for Volume<'_> {}
impl Holds for VolumeMount<'_> {}
impl Holds for VolumeDevice<'_> {}

impl Holds for Container<'_> {
    fn inner(&self) -> usize {
        self.volume_mounts.as_deref().map_or(0, <[_]>::len) + self.volume_devices.as_deref().map_or(0, <[_]>::len)
    }
}

impl<T, const MOST: usize> Deref for Items<T, MOST> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'i, T, const MOST: usize> IntoIterator for &'i Items<T, MOST> {
    type Item = &'i T;
    type IntoIter = std::slice::Iter<'i, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[allow(private_bounds, reason = "only the pod's own lists are kept so")]
impl<'de, T: Deserialize<'de> + Holds, const MOST: usize> Deserialize<'de> for Items<T, MOST> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Holds, const MOST: usize> Visitor<'de> for ItemsVisitor<T, MOST> {
            type Value = Items<T, MOST>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
                let (mut kept, mut inner) = (Vec::new(), 0);
                while kept.len() < MOST && inner <= MOST_INNER {
                    match items.next_element::<T>()? {
                        Some(item) => {
                            inner += item.inner();
                            kept.push(item);
                        }
                        None => return Ok(Items(kept)),
                    }
                }
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Items(kept))
            }
        }
        deserializer.deserialize_seq(ItemsVisitor(PhantomData))
    }
}

/// The first list of the pod's that is longer than any cluster's, and what of it we would take.
pub(super) fn exceeded(pod: &Pod<'_>) -> Option<(&'static str, String)> {
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

    #[test]
    fn mounts_of_many_containers_together_are_not_all_kept() {
        let mounts = vec![r#"{"name":"a","mountPath":"b"}"#; 1000].join(",");
        let containers = vec![format!(r#"{{"name":"c","volumeMounts":[{mounts}]}}"#); 250].join(",");
        let pod = format!(r#"{{"metadata":{{}},"spec":{{"containers":[{containers}]}}}}"#);
        let pod = Pod::parse(&pod).unwrap();
        let kept: usize = pod.all_containers().map(Holds::inner).sum();
        assert!(kept <= MOST_INNER + 1000, "{kept}");
        assert_eq!(exceeded(&pod).unwrap().0, "spec.containers.volumeMounts");
    }
}
