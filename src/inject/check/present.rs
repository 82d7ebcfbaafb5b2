//! What of podkey's a pod has already: its own parts from an earlier visit, or others in their place.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use crate::inject::config::ConnectionConfig;
use crate::inject::patch::parts::{
    self, Access, BIN_VOLUME, CONTAINERS, Delivery, HANDOVER_VOLUME, INIT_CONTAINER, Mount, SECRETS_VOLUME, SIDECAR,
    TOKEN_VOLUME, Tool, VOLUMES,
};
use crate::inject::pod::{Container, Pod, VolumeMount};
use crate::inject::problem::{Problems, quoted};
use crate::inject::request::InjectionRequest;
use crate::plan::{MAX_PLAN_BYTES, Mode, PLAN_ENV, Plan};

/// Whether a pod carries our parts already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    New,
    Injected,
    /// Injected, and since then another webhook has changed who reads the files: their modes are for the readers of then.
    Outgrown,
}

/// What to do about a part of ours that is not as we would make it.
const REMOVE: &str = "remove podkey-init from the template";
/// The same of the sidecar.
const REMOVE_BOTH: &str = "remove podkey-init and podkey-sidecar from the template";

/// A pod is injected when it has our init container with the plan we would make, and our volumes. The API server calls
/// again after other webhooks (`reinvocationPolicy`), and whatever they did to image, resources, env or mounts of our
/// container is their business.
pub(crate) fn state(
    pod: &Pod<'_>,
    request: &InjectionRequest,
    plan: &Plan<&RawValue>,
    tool: Tool,
    connection: &ConnectionConfig,
    problems: &mut Problems,
) -> State {
    let init = pod
        .spec
        .init_containers
        .iter()
        .flatten()
        .find(|container| container.name == INIT_CONTAINER);
    let delivery = request.delivery();
    let volume = |name: &str| pod.spec.volumes.iter().flatten().find(|volume| volume.name == name);
    let Some(init) = init else { return State::New };
    let Some(modes) = planned_modes(init, request, plan, connection).filter(|_| !init.is_native_sidecar()) else {
        problems.push(
            "spec.initContainers",
            format!("podkey-init is there with another plan than these annotations make: {REMOVE}"),
        );
        return State::Injected;
    };
    if delivery == Delivery::Refreshed {
        check_sidecar(pod, init, problems);
    }
    for name in VOLUMES.into_iter().filter(|name| parts::needs(name, tool, delivery)) {
        match volume(name) {
            Some(volume) if parts::is_ours(volume, connection.audience.as_deref()) => {}
            Some(_) => problems.push(
                "spec.volumes",
                format!("{name} is another volume than podkey makes: {REMOVE}, and the volume"),
            ),
            None => problems.push(
                "spec.volumes",
                format!("podkey-init is there, but not its volume {name}: {REMOVE}"),
            ),
        }
    }
    if self::modes(plan).eq(modes) {
        State::Injected
    } else {
        State::Outgrown
    }
}

/// The sidecar belongs behind `init` (another webhook may have put its own between them), and does the same plan.
fn check_sidecar(pod: &Pod<'_>, init: &Container<'_>, problems: &mut Problems) {
    let containers = pod.spec.init_containers.as_deref().unwrap_or_default();
    let place = |name: &str| containers.iter().position(|container| container.name == name);
    let why = match place(SIDECAR).map(|place| (place, &containers[place])) {
        None => format!("podkey-init is there, but not podkey-sidecar: {REMOVE}"),
        Some((sidecar, _)) if Some(sidecar) < place(INIT_CONTAINER) => {
            format!("podkey-sidecar comes before podkey-init, which it takes its token from: {REMOVE_BOTH}")
        }
        Some((_, sidecar)) if !sidecar.is_native_sidecar() => format!(
            "podkey-sidecar has no restartPolicy: Always, and the pod would wait for ever for its end: see whether \
             another webhook drops that field, or {REMOVE_BOTH}"
        ),
        Some((_, sidecar)) if plan_text(sidecar) != plan_text(init) => {
            format!("podkey-sidecar is there with another plan than podkey-init has: {REMOVE_BOTH}")
        }
        Some(_) => return,
    };
    problems.push("spec.initContainers", why);
}

/// The text of the plan that a container carries.
fn plan_text(container: &Container<'_>) -> Option<String> {
    let env = container.variables(|var| var.name == PLAN_ENV);
    let text = env.get(PLAN_ENV)?.value.as_deref()?;
    // What is longer is no plan of ours, and is not worth being parsed.
    (text.len() <= MAX_PLAN_BYTES).then(|| text.to_owned())
}

/// The modes in the plan that the container carries, if it is this plan otherwise. A mode that the author left to us may be
/// the one of our first visit: since then another webhook may have added a container with another user.
fn planned_modes(
    init: &Container<'_>,
    request: &InjectionRequest,
    plan: &Plan<&RawValue>,
    connection: &ConnectionConfig,
) -> Option<Vec<Mode>> {
    let mut present = Plan::parse(&plan_text(init)?).ok()?;
    let found = modes(&present).collect();
    let job_files = present.job.iter_mut().flat_map(|job| &mut job.files);
    let theirs = present.files.iter_mut().map(|file| &mut file.mode);
    let theirs = theirs
        .chain(job_files.map(|file| &mut file.mode))
        .chain([&mut present.env_mode]);
    let chosen = request.files.iter().map(|file| file.mode).chain([None]);
    for ((theirs, ours), chosen) in theirs.zip(modes(plan)).zip(chosen) {
        if chosen.is_none() && [Mode::OWNER, Mode::GROUP, Mode::ALL].contains(theirs) {
            *theirs = ours;
        }
    }
    let same = present.files == plan.files
        && present.env == plan.env
        && present.env_mode == plan.env_mode
        && present.exec == plan.exec
        && present.job == plan.job
        && present.refresh == plan.refresh
        && present.connection == connection.server
        && present.login == plan.login
        && present.budget == plan.budget
        && present.ignore_not_found == plan.ignore_not_found;
    same.then_some(found)
}

/// The modes of all files, `init`'s before the job's, as the request has them too, and that of the variables'.
fn modes<C>(plan: &Plan<C>) -> impl Iterator<Item = Mode> {
    let job = plan.job.iter().flat_map(|job| &job.files);
    let files = plan.files.iter().map(|file| file.mode).chain(job.map(|file| file.mode));
    files.chain([plan.env_mode])
}

/// The names that podkey needs must be free, unless podkey is there already.
pub(crate) fn check_names(pod: &Pod<'_>, delivery: Delivery, problems: &mut Problems) {
    let init_containers = pod.spec.init_containers.iter().flatten();
    let injected = init_containers
        .clone()
        .any(|container| container.name == INIT_CONTAINER);
    let ours = match (injected, delivery) {
        (true, Delivery::Refreshed) => &CONTAINERS[..],
        _ => &[INIT_CONTAINER],
    };
    let init_containers = init_containers.filter(|container| !ours.contains(&&*container.name));
    for (key, container) in init_containers
        .map(|container| ("spec.initContainers", container))
        .chain(
            pod.spec
                .containers
                .iter()
                .map(|container| ("spec.containers", container)),
        )
    {
        if parts::is_own(container) {
            problems.push_with(|| {
                let name = quoted(&container.name);
                (key, format!("the name {name} is podkey's: give the container another"))
            });
        }
    }
    for volume in pod.spec.volumes.iter().flatten() {
        if !injected && VOLUMES.contains(&&*volume.name) {
            problems.push_with(|| {
                let name = quoted(&volume.name);
                (
                    "spec.volumes",
                    format!("the name {name} is podkey's: give the volume another"),
                )
            });
        }
    }
}

/// What is wrong with a mount of a file where its destination is not.
const ELSEWHERE: &str = "where podkey puts no file, or another";

/// A template may name our volumes before they are there: no container but podkey's own may see the service-account token
/// or the volume's root, none may write to what another reads, and only the `runner` whose hooks may write clears it. What
/// the hooks run and believe is that container's alone, and nobody's to write; nor is what starts commands.
///
/// A file may be mounted only where its destination is: what is said of destinations would not hold for another path. `made`
/// are the mounts that podkey makes for the request, if it can be read.
pub(crate) fn check_mounts(
    pod: &Pod<'_>,
    runner: Option<&Container<'_>>,
    runner_access: Access,
    tool: Tool,
    made: Option<&[Mount]>,
    problems: &mut Problems,
) {
    let made: Option<BTreeSet<_>> = made.map(|made| {
        made.iter()
            .map(|mount| (&*mount.path, mount.sub_path.as_deref()))
            .collect()
    });
    let is_made = |mount: &VolumeMount<'_>| {
        let pair = (&*mount.mount_path, mount.sub_path.as_deref());
        made.as_ref().is_none_or(|made| made.contains(&pair))
    };
    let others = pod.all_containers().filter(|container| !parts::is_own(container));
    for container in others {
        let is_runner = runner.is_some_and(|runner| std::ptr::eq(runner, container));
        let access = if is_runner { runner_access } else { Access::Read };
        for mount in container.volume_mounts.iter().flatten() {
            let why = match &*mount.name {
                TOKEN_VOLUME | HANDOVER_VOLUME => "which is for podkey's own containers alone",
                SECRETS_VOLUME if !parts::is_reader_mount(mount, access) => {
                    "but not read-only and by a subPath below files or single, as podkey does"
                }
                SECRETS_VOLUME if !is_made(mount) => ELSEWHERE,
                BIN_VOLUME if !is_runner && tool != Tool::Exec => {
                    "which is for the job hooks of the container \"runner\" alone"
                }
                BIN_VOLUME if mount.read_only != Some(true) => "but not read-only, as podkey does",
                _ => continue,
            };
            problems.push_with(|| {
                let (container, volume) = (quoted(&container.name), &mount.name);
                let at = match why == ELSEWHERE {
                    true => format!(" at {}", quoted(&mount.mount_path)),
                    false => String::new(),
                };
                (
                    "spec.containers",
                    format!("the container {container} mounts {volume}{at}, {why}: remove the mount"),
                )
            });
        }
    }
}
