//! Where podkey's own containers go among the pod's init containers, and who must not come before them.

use crate::inject::patch::parts::INIT_CONTAINER;
use crate::inject::pod::readers::{MESH_SIDECARS, Reader};
use crate::inject::pod::{Container, Pod};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::keys::CONTAINERS;

/// Where our init container goes, and the sidecar right behind it: first, so that the pod's own init containers may use the files, but after a mesh's
/// native sidecars, without which there is no network.
pub(crate) fn position(pod: &Pod<'_>) -> usize {
    let containers = pod.spec.init_containers.as_deref().unwrap_or_default();
    let is_mesh =
        |container: &Container<'_>| container.is_native_sidecar() && MESH_SIDECARS.contains(&&*container.name);
    containers.iter().rposition(is_mesh).map_or(0, |index| index + 1)
}

/// A reader that runs before our init container would find directories where its files should be: the kubelet makes them.
pub(crate) fn check(pod: &Pod<'_>, readers: &[Reader<'_, '_>], problems: &mut Problems) {
    let containers = pod.spec.init_containers.as_deref().unwrap_or_default();
    let ours = containers
        .iter()
        .position(|container| container.name == INIT_CONTAINER)
        .unwrap_or_else(|| position(pod));
    for early in &containers[..ours] {
        if readers.iter().any(|reader| std::ptr::eq(reader.container, early)) {
            problems.push_with(|| {
                let name = quoted(&early.name);
                (
                    CONTAINERS,
                    format!("{name} runs before podkey-init and cannot have its files"),
                )
            });
        }
    }
}
