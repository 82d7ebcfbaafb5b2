//! The decision: what to do with a pod that is about to be created. Pure: the same pod, namespace and config give the same
//! answer, byte for byte, with no clock, no network, no disk and no cluster.

mod asker;
mod check;
mod config;
mod kubernetes;
mod patch;
mod pod;
mod problem;
mod request;
pub mod vocabulary;

pub(crate) use asker::Asker;
pub use config::{Config, ConfigError, ConnectionConfig};
pub(crate) use kubernetes::KubernetesVersion;
pub use patch::PodPatch;
pub use pod::{Pod, Text, UnreadablePod};
pub use problem::{Mender, Problem, Problems};
pub use request::keys::{INJECTED, PREFIX};
pub(crate) use request::yaml_error::explain;

use check::present::State;
use check::{advice, engines, exec, hooks, policy, present, programs, references, refresh, runner};
use patch::List;
use patch::additions::Additions;
use patch::parts::{Access, Delivery, Tool, VOLUMES};
use patch::{additions, parts};
use pod::qos::Asks;
use pod::readers::{Reader, ReaderUser};
use pod::{Annotations, Container};
use pod::{exceeds, order, readers};
use problem::{did_you_mean, quoted};
use request::keys::{CONNECTION, CONTAINERS, ENV, FILES, ROLE};
use request::{InjectionRequest, Requested};
use request::{annotations, variables};
use serde_json::value::RawValue;

use crate::plan::{JobPlan, Login, MAX_PLAN_BYTES, Mode, OnFailure, PLAN_VERSION, Plan, Refresh};

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

/// More than that nobody reads.
const MAX_WARNINGS: usize = 5;

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
    let injection = resolve(pod, namespace, config, wishes, &mut problems);
    let (Some(injection), true) = (injection, problems.is_empty()) else {
        return Decision::Deny(problems);
    };
    match injection.patch(pod, config, wishes) {
        Ok(patch) => Decision::Inject(patch, warnings(pod, &injection)),
        // Nothing we serialise can fail; if it ever does, the pod must not start without its secrets.
        Err(error) => {
            problems.push_for_operator("podkey", format!("cannot write the patch: {error}"));
            Decision::Deny(problems)
        }
    }
}

/// The most that podkey adds to the pod's own containers, in bytes: mounts and variables are files times containers, and a
/// small pod must not get a large answer.
const MAX_ADDED_BYTES: usize = 512 * 1024;

/// All that a pod's patch is made of.
struct Injection<'p, 'a, 'c> {
    connection: &'c ConnectionConfig,
    readers: Vec<(Reader<'p, 'a>, Additions)>,
    state: State,
    /// The plan as podkey's containers get it.
    plan: String,
    tool: Tool,
    delivery: Delivery,
    run_as_user: Option<i64>,
    /// What probably does not work, though nothing is wrong with it.
    advice: Warnings,
    /// Where init fails, ARC is left with a pod that fails.
    fails_for_arc: bool,
}

/// Follows every wish as far as it goes, and tells all that is wrong on the way.
fn resolve<'p, 'a, 'c>(
    pod: &'p Pod<'a>,
    namespace: &str,
    config: &'c Config,
    wishes: &Annotations<'_>,
    problems: &mut Problems,
) -> Option<Injection<'p, 'a, 'c>> {
    // Comparing all that such a pod has with each other would take seconds.
    if let Some((place, why)) = exceeds::exceeded(pod) {
        problems.push(place, why);
        return None;
    }
    let request = annotations::parse(wishes, problems);
    let understood = problems.is_empty();
    check_pod(pod, config, problems);
    present::check_names(pod, request.delivery(), problems);
    let runner = hooks::runner(pod, &request);
    let runner_access = hooks::access(&request);
    let tool = match runner {
        Some(_) => Tool::Hooks,
        None if exec::is_on(pod, &request) => Tool::Exec,
        None => Tool::None,
    };
    let made = understood.then(|| {
        let files = request.files.iter().map(|file| &file.file);
        parts::mounts(files, request.has_variables(), runner_access)
    });
    present::check_mounts(pod, runner, runner_access, tool, made.as_deref(), problems);
    let connection = choose_connection(&request, config, problems);
    let login = match request.only_job_reads() {
        false => connection.and_then(|connection| login(&request, connection, problems)),
        true => None,
    };
    let readers = readers::choose(pod, request.containers.as_deref(), problems);
    let user = ReaderUser::of(pod, &readers);
    let run_as_user = user.run_as(config.agent.run_as_user);
    check_user(pod, run_as_user, problems);
    let hook_user = hooks::check(pod, &request, connection, &readers, user, problems);
    variables::check(&request, problems);
    refresh::check(pod, config, connection, &request, user, problems);
    references::check(&readers, tool, &request, problems);
    let mut advice = advice::warnings(pod, &request, &readers, user, run_as_user);
    engines::check(&request, problems, &mut advice);
    order::check(pod, &readers, problems);
    programs::check(pod, &readers, &request, problems);
    runner::check(pod, &request, problems);
    let readers = additions(pod, readers, &request, tool, runner, problems);
    // What the pod lacks does not keep us from telling what is wrong with its plan; wishes that do not parse do.
    let (Some(connection), true) = (connection, understood && (login.is_some() || request.only_job_reads())) else {
        return None;
    };
    let default_mode = user.default_mode(pod);
    let tool = match tool {
        Tool::Hooks if hook_user.is_none() => Tool::None,
        tool => tool,
    };
    let job = hook_user.map(|user| hooks::plan(user, &request, connection, default_mode));
    let plan = plan(&request, connection, login, job, tool, default_mode);
    check_policy(pod, namespace, connection, &plan, problems);
    let state = present::state(pod, &request, &plan, tool, connection, problems);
    let plan = plan.to_env_value().unwrap_or_default();
    if plan.is_empty() || plan.len() > MAX_PLAN_BYTES {
        let bytes = plan.len();
        problems.push(
            if request.files.is_empty() { ENV } else { FILES },
            format!("makes a plan of {bytes} bytes, allowed are {MAX_PLAN_BYTES}: ask for less"),
        );
    }
    Some(Injection {
        connection,
        readers,
        state,
        plan,
        tool,
        delivery: request.delivery(),
        run_as_user,
        advice,
        fails_for_arc: pod.is_runner() && hooks::on_failure(pod, &request) == OnFailure::FailPod,
    })
}

/// What each of the readers lacks. `runner` is the one whose hooks are called.
fn additions<'p, 'a>(
    pod: &Pod<'_>,
    readers: Vec<Reader<'p, 'a>>,
    request: &InjectionRequest,
    tool: Tool,
    runner: Option<&Container<'_>>,
    problems: &mut Problems,
) -> Vec<(Reader<'p, 'a>, Additions)> {
    let read_only = additions::read_only_volumes(pod);
    let all = readers.len();
    let mut with_additions = Vec::with_capacity(all);
    let mut room = MAX_ADDED_BYTES;
    for reader in readers {
        // The pod is refused anyway, and readers multiply with files.
        if problems.is_full() {
            break;
        }
        let calls_hooks = runner.is_some_and(|runner| std::ptr::eq(runner, reader.container));
        let (tool, access) = match tool {
            Tool::Hooks if calls_hooks => (tool, hooks::access(request)),
            Tool::Exec => (tool, Access::Read),
            Tool::Hooks | Tool::None => (Tool::None, Access::Read),
        };
        let files = request.files.iter().map(|file| &file.file);
        let mut mounts = parts::mounts(files, request.has_variables(), access);
        mounts.extend((tool != Tool::None).then(parts::bin_mount));
        let additions = reader.additions(&read_only, tool, request, mounts, problems);
        let Some(rest) = room.checked_sub(additions.bytes()) else {
            problems.push(
                CONTAINERS,
                format!(
                    "are {all} that get the files, whose mounts and variables make more than {MAX_ADDED_BYTES} bytes: name \
                     fewer containers, or write relative files, which have one mount together"
                ),
            );
            break;
        };
        room = rest;
        with_additions.push((reader, additions));
    }
    with_additions
}

impl Injection<'_, '_, '_> {
    fn patch(&self, pod: &Pod<'_>, config: &Config, wishes: &Annotations<'_>) -> Result<PodPatch, serde_json::Error> {
        let mut patch = PodPatch::default();
        // The readers first: inserting the init container moves the places of the init containers behind it.
        for (reader, additions) in &self.readers {
            let mounts: Vec<_> = additions.mounts.iter().map(parts::volume_mount).collect();
            patch.append(
                &format!("{}/volumeMounts", reader.pointer),
                List::of(&reader.container.volume_mounts),
                &mounts,
            )?;
            let env: Vec<_> = additions
                .env
                .iter()
                .map(|(name, value)| parts::env_var(name, value))
                .collect();
            patch.append(
                &format!("{}/env", reader.pointer),
                List::of(&reader.container.env),
                &env,
            )?;
            patch.prepend(&format!("{}/command", reader.pointer), additions.command)?;
        }
        if self.state == State::New {
            let containers = config.containers.of(self.tool, self.delivery, Asks::of(pod));
            let containers: Vec<_> = containers
                .iter()
                .map(|container| container.to_json(&self.plan, self.run_as_user))
                .collect::<Result<_, _>>()?;
            patch.insert_json(
                "/spec/initContainers",
                List::of(&pod.spec.init_containers),
                order::position(pod),
                &containers,
            )?;
            let volumes = match self.delivery {
                Delivery::Once => &self.connection.volumes,
                Delivery::Refreshed => &self.connection.refreshed_volumes,
            };
            let volumes: Vec<_> = VOLUMES
                .iter()
                .zip(volumes)
                .filter(|(name, _)| parts::needs(name, self.tool, self.delivery))
                .map(|(_, volume)| volume.as_str())
                .collect();
            patch.append_json("/spec/volumes", List::of(&pod.spec.volumes), &volumes)?;
        }
        if !annotations::says_injected(wishes) {
            patch.set("/metadata/annotations", INJECTED, &crate::VERSION)?;
        }
        Ok(patch)
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
            problems.push_for_operator("spec.hostPID", why);
        }
        if pod.spec.share_process_namespace == Some(true) {
            problems.push_for_operator("spec.shareProcessNamespace", why);
        }
    }
}

/// podkey's containers never run as root, and where nobody says as whom they run, the pod must not say it is root.
fn check_user(pod: &Pod<'_>, run_as_user: Option<i64>, problems: &mut Problems) {
    let pod_user = pod
        .spec
        .security_context
        .as_ref()
        .and_then(|context| context.run_as_user);
    if run_as_user.is_none() && pod_user == Some(0) {
        problems.push(
            "spec.securityContext.runAsUser",
            "is 0, and the operator's config sets no user for podkey's containers, which do not run as root: set it on the containers instead",
        );
    }
}

fn choose_connection<'c>(
    request: &InjectionRequest,
    config: &'c Config,
    problems: &mut Problems,
) -> Option<&'c ConnectionConfig> {
    let name = request.connection.as_deref().unwrap_or("default");
    let found = config.connections.get(name);
    if found.is_none() {
        let known = known_connections(name, config);
        match request.connection {
            // No operator names a connection so.
            Some(_) if name.is_empty() => problems.push(CONNECTION, format!("is empty{known}")),
            Some(_) => problems.push_for_operator(
                CONNECTION,
                format!("{} is no connection of the operator's{known}", quoted(name)),
            ),
            None => problems.push_for_operator(
                CONNECTION,
                format!("is missing, and the operator has no connection named \"default\"{known}"),
            ),
        }
    }
    found
}

/// The name that is nearest to what was written, or else the names that there are: they are for the pods' authors to choose
/// from, and no secret.
fn known_connections(written: &str, config: &Config) -> String {
    const MOST: usize = 8;
    let names = config.connections.keys().map(String::as_str);
    let nearest = did_you_mean(written, names.clone());
    if !nearest.is_empty() {
        return nearest;
    }
    let more = match names.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names: Vec<_> = names.take(MOST).map(quoted).collect();
    format!(": write one of {}{more}", names.join(", "))
}

fn login(request: &InjectionRequest, connection: &ConnectionConfig, problems: &mut Problems) -> Option<Login> {
    let role = match &request.role {
        Requested::Given(role) => Some(role.clone()),
        // The problem is reported.
        Requested::Invalid => None,
        Requested::Absent => {
            if connection.role.is_none() {
                problems.push(ROLE, "is missing: the connection has no role of its own");
            }
            connection.role.clone()
        }
    };
    Some(Login {
        method: connection.method,
        mount: request.auth_mount.clone().unwrap_or_else(|| connection.mount.clone()),
        role: role?,
    })
}

/// The plan, with the connection as the text that was made of it when the config was read.
fn plan<'c>(
    request: &InjectionRequest,
    connection: &'c ConnectionConfig,
    login: Option<Login>,
    job: Option<JobPlan>,
    tool: Tool,
    default_mode: Mode,
) -> Plan<&'c RawValue> {
    Plan {
        version: PLAN_VERSION,
        connection: &connection.server_json,
        login,
        budget: connection.budget,
        ignore_not_found: request.ignore_not_found,
        files: request
            .files
            .iter()
            .filter_map(|file| file.for_init(default_mode))
            .collect(),
        env: request.env.clone(),
        env_mode: match request.has_variables() {
            true => default_mode,
            false => Mode::default(),
        },
        exec: tool == Tool::Exec,
        job,
        refresh: request.refresh.given().map(|interval| Refresh {
            interval,
            on_change: request.on_change.clone(),
        }),
    }
}

fn check_policy(
    pod: &Pod<'_>,
    namespace: &str,
    connection: &ConnectionConfig,
    plan: &Plan<&RawValue>,
    problems: &mut Problems,
) {
    let Some(rules) = &connection.allow else { return };
    let Err(no_rule) = policy::check(rules, pod, namespace, plan) else {
        return;
    };
    problems.keep_for_operator(no_rule);
    let access = match plan.files.iter().any(|file| file.data.is_some()) {
        true => "read all of these secrets, and write those with `data`,",
        false => "read all of these secrets",
    };
    // Says what the caller knows already, and nothing of the rules: anyone who reaches the webhook may probe it.
    problems.push_for_operator(
        CONNECTION,
        format!(
            "no rule of the operator's for {} lets the service account {} of the namespace {} {access} with this role and auth mount: ask the operator",
            quoted(&connection.server.name),
            quoted(pod.service_account()),
            quoted(namespace)
        ),
    );
}

fn warnings(pod: &Pod<'_>, injection: &Injection<'_, '_, '_>) -> Warnings {
    let mut warnings = Warnings::new();
    if injection.connection.audience.is_none() {
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
        .filter(|container| !parts::is_own(container))
        .map(declared);
    if let Some(Some(first)) = users.next()
        && users.all(|user| user == Some(first))
        && injection.run_as_user != Some(first)
        && pod_context.is_none_or(|context| context.fs_group.is_none())
    {
        warnings.push(
            "podkey: another user than the pod's runs podkey-init, so its API token becomes readable for all users"
                .to_owned(),
        );
    }
    // The sidecar alone may write: the hooks cannot take the files away.
    if injection.tool == Tool::Hooks && injection.delivery == Delivery::Refreshed {
        warnings.push(
            "podkey: with refresh, steps with always() can read the files of a job that the hooks refuse, such as a fork's"
                .to_owned(),
        );
    }
    if injection.fails_for_arc {
        warnings.push(
            "podkey: with fail-pod ARC makes a refused runner anew for ever and shows no reason: use job hooks and fail-job"
                .to_owned(),
        );
    }
    if injection.state == State::Outgrown {
        warnings.push(
            "podkey: a container with another user came after podkey-init, and may not be able to read the files"
                .to_owned(),
        );
    }
    // Who else may get a secret comes first; that a secret does not arrive is seen sooner or later.
    warnings.extend_from_slice(&injection.advice);
    if warnings.len() > MAX_WARNINGS {
        let more = warnings.len() + 1 - MAX_WARNINGS;
        warnings.truncate(MAX_WARNINGS - 1);
        warnings.push(format!("podkey: and {more} more warnings: mend these to see them"));
    }
    warnings
}
