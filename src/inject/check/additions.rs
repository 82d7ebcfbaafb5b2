//! What each reader lacks, and why a part cannot be added to a reader.

use crate::inject::check::{env_delivery, exec};
use crate::inject::parts::additions::{Additions, relevant_variables};
use crate::inject::parts::mounts::AddedMount;
use crate::inject::pod::path::normalized;
use crate::inject::pod::{Container, Variables};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::inject::request::files::FileRequest;
use crate::inject::survey::readers::Reader;
use crate::inject::survey::{AgentUse, Survey, VariableSetter};
use crate::inject::words::keys::{CONTAINERS, ENV, JOB_HOOKS};
use crate::plan::{self, Destination, SECRETS_DIR};

/// The most that podkey adds to the author's containers, in bytes. The number of mounts and variables is the number of files times
/// the number of containers, and a small pod must not get a large patch.
const MAX_ADDED_BYTES: usize = 512 * 1024;

/// The parts that each reader lacks. `file_mounts` are the mounts of all files.
pub(super) fn check<'s>(
    survey: &Survey<'s>,
    request: &'s InjectionRequest,
    file_mounts: &[AddedMount<'s>],
    problems: &mut Problems,
) -> Vec<Additions<'s>> {
    let readers = &survey.readers.found;
    let mut all = Vec::with_capacity(readers.len());
    let mut room = MAX_ADDED_BYTES;
    for reader in readers {
        // The pod is refused anyway, and the number of files multiplies the number of readers.
        if problems.is_full() {
            break;
        }
        let variables = relevant_variables(survey, request, *reader);
        let additions = Additions::of(survey, request, file_mounts, *reader, &variables);
        check_mounts(survey, request, &additions, problems);
        check_paths(*reader, &variables, request, problems);
        match survey.variable_setter_of(reader.container) {
            Some(VariableSetter::Agent) => exec::check(&additions, &variables, request, problems),
            Some(VariableSetter::Kubelet) => env_delivery::check_names(survey, *reader, &variables, request, problems),
            None => {}
        }
        let Some(rest) = room.checked_sub(additions.bytes()) else {
            problems.push(CONTAINERS, too_many(readers.len()));
            break;
        };
        room = rest;
        all.push(additions);
    }
    all
}

fn too_many(readers: usize) -> String {
    format!(
        "gives files to {readers} containers, whose mounts and variables have more than {MAX_ADDED_BYTES} bytes: name fewer \
         containers, or write relative files, which share one mount"
    )
}

/// Variables that name a file, but that the container sets to something else.
fn check_paths(reader: Reader<'_>, variables: &Variables<'_>, request: &InjectionRequest, problems: &mut Problems) {
    for file in &request.files {
        let Some(name) = &file.env else { continue };
        let present = variables.get(name.as_str());
        if present.is_some_and(|var| !var.is_exactly(&file.file.path())) {
            problems.push_with(|| {
                let container = quoted(&reader.container.name);
                (
                    file.place_of("env"),
                    format!("the container {container} sets {name} itself to something else: remove it there, or here"),
                )
            });
        }
    }
}

/// Mounts that are in conflict with something that the reader has mounted.
fn check_mounts(survey: &Survey<'_>, request: &InjectionRequest, additions: &Additions<'_>, problems: &mut Problems) {
    if additions.mounts.is_empty() {
        return;
    }
    let container = additions.reader.container;
    let occupied = occupied_places(survey, container);
    for mount in &additions.mounts {
        for place in &occupied {
            // The pod is refused anyway, and its lists multiply.
            if problems.is_full() {
                return;
            }
            if let Some(why) = conflict(mount, place, container) {
                let (key, what) = written(survey, request, mount);
                problems.push(key, format!("{what} {why}"));
            }
        }
    }
}

/// A place in the container that is taken.
struct OccupiedPlace<'m> {
    path: String,
    by: Occupant<'m>,
}

enum Occupant<'m> {
    /// A mount of this volume.
    Writable(&'m str),
    /// A mount of this volume. Nothing can be created in it, not even a mount point.
    ReadOnly(&'m str),
    Device,
}

/// The places that are taken, each path normalized once.
fn occupied_places<'m>(survey: &Survey<'_>, container: &'m Container<'_>) -> Vec<OccupiedPlace<'m>> {
    let mounts = container.volume_mounts.iter().flatten().map(|mount| OccupiedPlace {
        path: normalized(&mount.mount_path),
        by: match mount.is_read_only() || survey.read_only_volumes.contains(&*mount.name) {
            true => Occupant::ReadOnly(&mount.name),
            false => Occupant::Writable(&mount.name),
        },
    });
    let devices = container.volume_devices.iter().flatten().map(|device| OccupiedPlace {
        path: normalized(&device.device_path),
        by: Occupant::Device,
    });
    mounts.chain(devices).collect()
}

/// Why the mount cannot be added beside the place: the rest of a sentence that begins with the mount's path.
fn conflict(mount: &AddedMount<'_>, place: &OccupiedPlace<'_>, container: &Container<'_>) -> Option<String> {
    let hides = plan::contains(mount.path, &place.path);
    let is_below = plan::contains(&place.path, mount.path);
    if !hides && !is_below {
        return None;
    }
    let (path, container) = (|| quoted(&place.path), quoted(&container.name));
    match place.by {
        Occupant::Writable(volume) | Occupant::ReadOnly(volume) if hides && is_below => {
            let volume = quoted(volume);
            Some(format!(
                "is where the container {container} has mounted the volume {volume}"
            ))
        }
        Occupant::Writable(_) | Occupant::ReadOnly(_) if hides => Some(format!(
            "would hide {}, which the container {container} has mounted",
            path()
        )),
        Occupant::ReadOnly(_) => Some(format!(
            "is below {}, which the container {container} has mounted read-only: nothing can be mounted in it",
            path()
        )),
        Occupant::Writable(_) => None,
        Occupant::Device => Some(format!(
            "is in conflict with the device {} of the container {container}",
            path()
        )),
    }
}

/// The place where the author asked for the mount, and the author's words for it.
fn written(survey: &Survey<'_>, request: &InjectionRequest, mount: &AddedMount<'_>) -> (String, String) {
    // The mount of the directory stands for the first relative file, or for variables.
    let mut files = request.files.iter();
    let file = files.find(|file| plan::contains(mount.path, &file.file.path()));
    let key = match file {
        Some(file) => file.place_of("file"),
        None if mount.path != SECRETS_DIR && survey.agent_use == AgentUse::JobHooks => JOB_HOOKS.to_owned(),
        None => ENV.to_owned(),
    };
    let what = match file {
        Some(FileRequest {
            file: Destination::Relative(name),
            ..
        }) => format!("{} goes below {}, which", quoted(name), quoted(mount.path)),
        _ => quoted(mount.path),
    };
    (key, what)
}
