//! The decision: what to do with a pod that is about to be created. Pure: the same pod, namespace and config give the same
//! answer, byte for byte, with no clock, no network, no disk and no cluster.

mod annotations;
mod config;
mod files;
mod parts;
mod patch;
mod pod;
mod policy;
mod problem;
mod qos;
mod readers;
mod yaml;

pub use annotations::INJECTED;
pub use config::{AgentConfig, AgentResources, Config, ConfigError, Connection};
pub use patch::PodPatch;
pub use pod::{PREFIX, Pod, UnreadablePod};
pub use policy::{AllowRule, Pattern};
pub use problem::{Problem, Problems};

use annotations::InjectionRequest;
use files::FileRequest;
use parts::{INIT_CONTAINER, RESERVED_CONTAINERS, SECRETS_VOLUME, TOKEN_VOLUME};
use patch::List;
use pod::Container;
use problem::{did_you_mean, quoted};
use readers::{MESH_SIDECARS, Mount, Reader, ReaderUser};

use crate::plan::{Destination, FILES_DIR, Login, MAX_PLAN_BYTES, Mode, PLAN_VERSION, Plan, PlannedFile, SECRETS_DIR};

/// What to do with a pod.
#[derive(Debug)]
pub enum Decision {
    /// Nothing: it did not ask, or is out of reach.
    Ignore(Warnings),
    /// Patch it. An empty patch: it is injected already.
    Inject(PodPatch, Warnings),
    /// Refuse it.
    Deny(Problems),
}

/// What to tell whoever creates the pod, besides the decision: one short ASCII line each, at most five. (The API server
/// drops texts that are no valid header content, and cuts long ones.)
pub type Warnings = Vec<String>;

/// Decides. `namespace` is the request's: a pod that is about to be created may not name its own.
pub fn decide(pod: &Pod<'_>, namespace: &str, config: &Config) -> Decision {
    let Some(wishes) = pod
        .metadata
        .annotations
        .as_ref()
        .filter(|wishes| annotations::asks(wishes))
    else {
        return Decision::Ignore(Warnings::new());
    };
    if wishes.is_mirror {
        return Decision::Ignore(vec![
            "podkey leaves mirror pods alone: a static pod gets no secrets".to_owned(),
        ]);
    }
    let mut problems = Problems::default();
    let request = annotations::parse(wishes, &mut problems);
    let understood = problems.is_empty();
    check_pod(pod, config, &mut problems);
    check_names(pod, &mut problems);
    check_mounts_of_ours(pod, &mut problems);
    let connection = choose_connection(&request, config, &mut problems);
    let login = connection.and_then(|connection| login(&request, connection, &mut problems));
    let readers = readers::choose(pod, request.containers.as_deref(), &mut problems);
    let mounts = mounts(&request.files);
    let additions: Vec<_> = readers
        .iter()
        .map(|reader| reader.additions(pod, &request.files, &mounts, &mut problems))
        .collect();
    check_order(pod, &readers, &mut problems);
    // What the pod lacks does not keep us from telling what is wrong with its plan; wishes that do not parse do.
    let (Some(connection), Some(login), true) = (connection, login, understood) else {
        return Decision::Deny(problems);
    };

    let user = ReaderUser::of(pod, &readers);
    let plan = plan(&request, connection, login, user.default_mode(pod));
    check_policy(pod, namespace, connection, &plan, &mut problems);
    let state = state(pod, &request, &plan, connection, &mut problems);
    let run_as_user = match user {
        ReaderUser::One(uid) => Some(uid),
        ReaderUser::Root { .. } | ReaderUser::Unknown => config.agent.run_as_user,
    };
    if run_as_user.is_none()
        && pod
            .spec
            .security_context
            .as_ref()
            .and_then(|context| context.run_as_user)
            == Some(0)
    {
        problems.push(
            "spec.securityContext.runAsUser",
            "is 0, and the operator's config sets no user for podkey's containers, which do not run as root: set it on the containers instead",
        );
    }
    let env_value = plan.to_env_value().unwrap_or_default();
    if env_value.len() > MAX_PLAN_BYTES || env_value.is_empty() {
        problems.push(
            format!("{PREFIX}files"),
            format!(
                "makes a plan of {} bytes, allowed are {MAX_PLAN_BYTES}: ask for less",
                env_value.len()
            ),
        );
    }
    if !problems.is_empty() {
        return Decision::Deny(problems);
    }

    let build = || -> Result<PodPatch, serde_json::Error> {
        let mut patch = PodPatch::default();
        // The readers first: inserting the init container moves the places of the init containers behind it.
        for (reader, additions) in readers.iter().zip(&additions) {
            let mounts: Vec<_> = additions.mounts.iter().map(parts::volume_mount).collect();
            patch.append(
                &format!("{}/volumeMounts", reader.pointer),
                reader.mounts_list(),
                &mounts,
            )?;
            let env: Vec<_> = additions
                .env
                .iter()
                .map(|(name, value)| parts::env_var(name, value.clone()))
                .collect();
            patch.append(&format!("{}/env", reader.pointer), reader.env_list(), &env)?;
        }
        if state == State::New {
            let init = parts::init_container(&config.agent, env_value, run_as_user, qos::is_guaranteed(pod));
            patch.insert(
                "/spec/initContainers",
                List::of(&pod.spec.init_containers),
                init_position(pod),
                &init,
            )?;
            patch.append(
                "/spec/volumes",
                List::of(&pod.spec.volumes),
                &parts::volumes(connection.audience.as_deref()),
            )?;
        }
        if !wishes
            .ours
            .iter()
            .any(|(key, value)| *key == "injected" && value.as_deref() == Some(crate::VERSION))
        {
            patch.set("/metadata/annotations", INJECTED, &crate::VERSION)?;
        }
        Ok(patch)
    };
    match build() {
        Ok(patch) => Decision::Inject(patch, warnings(pod, connection, run_as_user)),
        // Nothing we serialise can fail; if it ever does, the pod must not start without its secrets.
        Err(error) => {
            problems.push("podkey", format!("cannot write the patch: {error}"));
            Decision::Deny(problems)
        }
    }
}

/// What no pod may be that gets secrets.
fn check_pod(pod: &Pod<'_>, config: &Config, problems: &mut Problems) {
    if let Some(place) = pod.asks_for_windows() {
        problems.push(
            place,
            "is windows: podkey's containers run on Linux only, remove the annotations of podkey",
        );
    }
    if !config.allow_shared_process_namespace {
        let why =
            "lets the pod's processes read podkey's: remove it, or ask the operator for allowSharedProcessNamespace";
        if pod.spec.host_pid == Some(true) {
            problems.push("spec.hostPID", why);
        }
        if pod.spec.share_process_namespace == Some(true) {
            problems.push("spec.shareProcessNamespace", why);
        }
    }
}

/// The names that podkey needs must be free, unless podkey is there already.
fn check_names(pod: &Pod<'_>, problems: &mut Problems) {
    let init_containers = pod.spec.init_containers.iter().flatten();
    let injected = init_containers
        .clone()
        .any(|container| container.name == INIT_CONTAINER);
    let init_containers = init_containers.filter(|container| container.name != INIT_CONTAINER);
    for (key, container) in init_containers
        .map(|container| ("spec.initContainers", container))
        .chain(
            pod.spec
                .containers
                .iter()
                .map(|container| ("spec.containers", container)),
        )
    {
        if RESERVED_CONTAINERS.contains(&&*container.name) {
            problems.push(
                key,
                format!(
                    "the name {} is podkey's: give the container another",
                    quoted(&container.name)
                ),
            );
        }
    }
    for volume in pod.spec.volumes.iter().flatten() {
        if !injected && [SECRETS_VOLUME, TOKEN_VOLUME].contains(&&*volume.name) {
            problems.push(
                "spec.volumes",
                format!("the name {} is podkey's: give the volume another", quoted(&volume.name)),
            );
        }
    }
}

/// A template may name our volumes before they are there: no container but podkey's own may see the service-account token
/// or the volume's root, and none may write to what another reads.
fn check_mounts_of_ours(pod: &Pod<'_>, problems: &mut Problems) {
    let others = pod
        .all_containers()
        .filter(|container| container.name != INIT_CONTAINER);
    for container in others {
        for mount in container.volume_mounts.iter().flatten() {
            let why = match &*mount.name {
                TOKEN_VOLUME => "which is for podkey's own containers alone",
                SECRETS_VOLUME if !parts::is_reader_mount(mount) => {
                    "but not read-only and by a subPath below files or single, as podkey does"
                }
                _ => continue,
            };
            problems.push(
                "spec.containers",
                format!(
                    "the container {} mounts {}, {why}: remove the mount",
                    quoted(&container.name),
                    mount.name
                ),
            );
        }
    }
}

fn choose_connection<'c>(
    request: &InjectionRequest,
    config: &'c Config,
    problems: &mut Problems,
) -> Option<&'c Connection> {
    let name = request.connection.as_deref().unwrap_or("default");
    let found = config.connections.get(name);
    if found.is_none() {
        let key = format!("{PREFIX}connection");
        let hint = did_you_mean(name, config.connections.keys().map(String::as_str));
        match request.connection {
            Some(_) => problems.push(
                key,
                format!("{} is no connection of the operator's{hint}", quoted(name)),
            ),
            None => problems.push(key, "is missing, and the operator has no connection named \"default\""),
        }
    }
    found
}

fn login(request: &InjectionRequest, connection: &Connection, problems: &mut Problems) -> Option<Login> {
    // Where the author wrote a role that does not parse, its problem is in the list already.
    let role = request.role.clone().or_else(|| connection.role.clone());
    if role.is_none() && !problems.iter().any(|problem| problem.key == format!("{PREFIX}role")) {
        problems.push(
            format!("{PREFIX}role"),
            "is missing: the connection has no role of its own",
        );
    }
    Some(Login {
        method: connection.method,
        mount: request.auth_mount.clone().unwrap_or_else(|| connection.mount.clone()),
        role: role?,
    })
}

fn plan(request: &InjectionRequest, connection: &Connection, login: Login, default_mode: Mode) -> Plan {
    Plan {
        version: PLAN_VERSION,
        connection: connection.server.clone(),
        login,
        budget: connection.budget,
        ignore_not_found: request.ignore_not_found,
        files: request
            .files
            .iter()
            .map(|file| PlannedFile {
                secret: file.secret.clone(),
                version: file.version,
                key: file.key.clone(),
                decode: file.decode,
                format: file.format,
                file: file.file.clone(),
                mode: file.mode.unwrap_or(default_mode),
            })
            .collect(),
    }
}

fn check_policy(pod: &Pod<'_>, namespace: &str, connection: &Connection, plan: &Plan, problems: &mut Problems) {
    let Some(rules) = &connection.allow else { return };
    if rules
        .iter()
        .any(|rule| rule.allows(pod, namespace, &plan.login, &plan.files))
    {
        return;
    }
    // Says what the caller knows already, and nothing of the rules: anyone who reaches the webhook may probe it.
    problems.push(
        format!("{PREFIX}connection"),
        format!(
            "no rule of the operator's for {} lets the service account {} of the namespace {} read all of these secrets with this role and auth mount: ask the operator",
            quoted(&connection.server.name),
            quoted(pod.service_account()),
            quoted(namespace)
        ),
    );
}

/// Whether a pod carries our parts already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Injected,
}

/// A pod is injected when it has our init container with the plan we would make, and our volumes. The API server calls
/// again after other webhooks (`reinvocationPolicy`), and whatever they did to image, resources, env or mounts of our
/// container is their business.
fn state(
    pod: &Pod<'_>,
    request: &InjectionRequest,
    plan: &Plan,
    connection: &Connection,
    problems: &mut Problems,
) -> State {
    const REMOVE: &str = "remove podkey-init from the template";
    let init = pod
        .spec
        .init_containers
        .iter()
        .flatten()
        .find(|container| container.name == INIT_CONTAINER);
    let volume = |name: &str| pod.spec.volumes.iter().flatten().find(|volume| volume.name == name);
    let Some(init) = init else { return State::New };
    if !has_plan(init, request, plan) {
        problems.push(
            "spec.initContainers",
            format!("podkey-init is there with another plan than these annotations make: {REMOVE}"),
        );
        return State::Injected;
    }
    for name in [SECRETS_VOLUME, TOKEN_VOLUME] {
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
    State::Injected
}

/// Whether the container carries this plan. A mode that the author left to us may be the one of our first visit: since then
/// another webhook may have added a container with another user.
fn has_plan(init: &Container<'_>, request: &InjectionRequest, plan: &Plan) -> bool {
    let env = init.env();
    // Of two entries with one name Kubernetes uses the last.
    let Some(text) = env
        .iter()
        .rfind(|var| var.name == crate::plan::PLAN_ENV)
        .and_then(|var| var.value.as_deref())
    else {
        return false;
    };
    let Ok(present) = Plan::parse(text) else { return false };
    if present.files.len() != plan.files.len() {
        return false;
    }
    let mut expected = plan.clone();
    for ((expected, present), request) in expected.files.iter_mut().zip(&present.files).zip(&request.files) {
        if request.mode.is_none() && [Mode::OWNER, Mode::GROUP, Mode::ALL].contains(&present.mode) {
            expected.mode = present.mode;
        }
    }
    expected == present
}

/// Where our init container goes: first, so that the pod's own init containers may use the files, but after a mesh's
/// native sidecars, without which there is no network.
fn init_position(pod: &Pod<'_>) -> usize {
    let containers = pod.spec.init_containers.as_deref().unwrap_or_default();
    let is_mesh =
        |container: &Container<'_>| container.is_native_sidecar() && MESH_SIDECARS.contains(&&*container.name);
    containers.iter().rposition(is_mesh).map_or(0, |index| index + 1)
}

/// A reader that runs before our init container would find directories where its files should be: the kubelet makes them.
fn check_order(pod: &Pod<'_>, readers: &[Reader<'_, '_>], problems: &mut Problems) {
    let containers = pod.spec.init_containers.as_deref().unwrap_or_default();
    let ours = containers
        .iter()
        .position(|container| container.name == INIT_CONTAINER)
        .unwrap_or_else(|| init_position(pod));
    for early in &containers[..ours] {
        if readers.iter().any(|reader| std::ptr::eq(reader.container, early)) {
            problems.push(
                format!("{PREFIX}containers"),
                format!(
                    "{} runs before podkey-init and cannot have its files",
                    quoted(&early.name)
                ),
            );
        }
    }
}

/// One mount for all relative files, one for each absolute file.
fn mounts(files: &[FileRequest]) -> Vec<Mount> {
    let mut mounts = Vec::new();
    if files.iter().any(|file| matches!(file.file, Destination::Relative(_))) {
        mounts.push(Mount {
            path: SECRETS_DIR.to_owned(),
            sub_path: FILES_DIR.to_owned(),
        });
    }
    for (index, file) in files.iter().enumerate() {
        if let Destination::Absolute(path) = &file.file {
            mounts.push(Mount {
                path: path.clone(),
                sub_path: file.file.place(index),
            });
        }
    }
    mounts
}

fn warnings(pod: &Pod<'_>, connection: &Connection, run_as_user: Option<i64>) -> Warnings {
    let mut warnings = Warnings::new();
    if connection.audience.is_none() {
        warnings.push(
            "podkey: the connection has no audience, so the job's own API token can log in to Vault as well".to_owned(),
        );
    }
    if pod.spec.host_network == Some(true) {
        warnings.push(
            "podkey: the pod uses the host's network, where no NetworkPolicy limits who can reach Vault".to_owned(),
        );
    }
    // The kubelet keeps service-account tokens 0600 only while all containers declare one user (KEP-1205).
    let pod_context = pod.spec.security_context.as_ref();
    let declared = |container: &Container<'_>| {
        container
            .security_context
            .as_ref()
            .and_then(|context| context.run_as_user)
            .or_else(|| pod_context?.run_as_user)
    };
    let mut users = pod
        .all_containers()
        .filter(|container| container.name != INIT_CONTAINER)
        .map(declared);
    if let Some(Some(first)) = users.next()
        && users.all(|user| user == Some(first))
        && run_as_user != Some(first)
        && pod_context.is_none_or(|context| context.fs_group.is_none())
    {
        warnings.push(
            "podkey: another user than the pod's runs podkey-init, so its API token becomes readable for all users"
                .to_owned(),
        );
    }
    warnings
}
