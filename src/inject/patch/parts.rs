//! The parts that podkey adds to a pod: the init container and its volumes, built with Kubernetes' own types. They are
//! the same for all pods of a connection but for the plan and the user, so they are made into text once, when the config is
//! read, and the rest is put in for each pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
    SecurityContext, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;

use crate::inject::config::agent::{AgentConfig, AgentResources};
use crate::inject::pod;
use crate::inject::pod::qos::{self, Asks};
use crate::plan::{
    BIN_DIR, Destination, FILES_DIR, HANDOVER_DIR, MAX_RENDERED_BYTES, PLAN_ENV, SECRETS_DIR, SINGLE_DIR, TOKEN_DIR,
    VOLUME_DIR,
};

pub(crate) const INIT_CONTAINER: &str = "podkey-init";
pub(crate) const SIDECAR: &str = "podkey-sidecar";
pub(crate) const SECRETS_VOLUME: &str = "podkey-secrets";
pub(crate) const TOKEN_VOLUME: &str = "podkey-token";
pub(crate) const BIN_VOLUME: &str = "podkey-bin";
pub(crate) const HANDOVER_VOLUME: &str = "podkey-handover";
/// Names that a pod's author must leave to podkey.
pub(crate) const CONTAINERS: [&str; 2] = [INIT_CONTAINER, SIDECAR];
/// Likewise of volumes, in the order in which a pod gets them.
pub(crate) const VOLUMES: [&str; 4] = [SECRETS_VOLUME, TOKEN_VOLUME, BIN_VOLUME, HANDOVER_VOLUME];

/// The shortest life that the API server gives a projected token
/// (<https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#launch-a-pod-using-service-account-token-projection>).
pub(crate) const TOKEN_SECONDS: i64 = 600;

/// What of the agent, which lies in `podkey-bin`, a pod or one of its containers uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Nothing: the volume is not there.
    None,
    /// The runner calls its hooks.
    Hooks,
    /// It starts the commands.
    Exec,
}

/// For how long podkey cares for the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// They are written once, before the containers start.
    Once,
    /// A sidecar keeps them fresh.
    Refreshed,
}

/// Whether a pod like this gets the volume.
pub(crate) fn needs(volume: &str, tool: Tool, delivery: Delivery) -> bool {
    match volume {
        BIN_VOLUME => tool != Tool::None,
        HANDOVER_VOLUME => delivery == Delivery::Refreshed,
        _ => true,
    }
}

/// Whether it is one of podkey's own containers, or has the name of one.
pub(crate) fn is_own(container: &pod::Container<'_>) -> bool {
    CONTAINERS.contains(&&*container.name)
}

/// What a container of the author's may do with our volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// The hooks empty the files.
    Write,
}

/// podkey's own containers as text, for every kind of pod there is.
#[derive(Debug, Clone)]
pub(crate) struct OwnContainers {
    /// Without `podkey-bin`, and with it; by what they [ask for](Asks::ALL).
    once: [Vec<ContainerText>; 2],
    /// Likewise, `podkey-init` and the sidecar.
    refreshed: [Vec<[ContainerText; 2]>; 2],
}

impl OwnContainers {
    pub(crate) fn prepare(agent: &AgentConfig) -> Result<Self, serde_json::Error> {
        use {Delivery::*, Program::*};
        let text = |program, tool, delivery, asks| ContainerText::prepare(agent, program, tool, delivery, asks);
        let once = |tool| {
            Asks::ALL
                .into_iter()
                .map(move |asks| text(Init, tool, Once, asks))
                .collect::<Result<_, _>>()
        };
        let refreshed = |tool| {
            let both = move |asks| {
                Ok([
                    text(Init, tool, Refreshed, asks)?,
                    text(Sidecar, tool, Refreshed, asks)?,
                ])
            };
            Asks::ALL
                .into_iter()
                .map(both)
                .collect::<Result<_, serde_json::Error>>()
        };
        Ok(Self {
            once: [once(Tool::None)?, once(Tool::Hooks)?],
            refreshed: [refreshed(Tool::None)?, refreshed(Tool::Hooks)?],
        })
    }

    /// Those that a pod like this gets, in their order.
    pub(crate) fn of(&self, tool: Tool, delivery: Delivery, asks: Asks) -> &[ContainerText] {
        let (bin, asks) = (usize::from(tool != Tool::None), asks as usize);
        match delivery {
            Delivery::Once => std::slice::from_ref(&self.once[bin][asks]),
            Delivery::Refreshed => &self.refreshed[bin][asks],
        }
    }
}

/// What the agent does in a container of podkey's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Init,
    Sidecar,
}

/// One of podkey's own containers as text, with the places of the plan and of the user left open.
#[derive(Debug, Clone)]
pub(crate) struct ContainerText {
    before_plan: String,
    between: String,
    after_user: String,
    /// What stands between plan and end where no user is set.
    without_user: String,
}

impl ContainerText {
    fn prepare(
        agent: &AgentConfig,
        program: Program,
        tool: Tool,
        delivery: Delivery,
        asks: Asks,
    ) -> Result<Self, serde_json::Error> {
        // Two values that stand for themselves nowhere else in the text.
        const PLAN: &str = "\0plan";
        const USER: i64 = i64::MIN;
        let text = |user| {
            let volumes = VOLUMES.into_iter().filter(|volume| needs(volume, tool, delivery));
            serde_json::to_string(&Container {
                resources: resources(&agent.resources, asks),
                ..container(agent, program, PLAN, user, volumes)
            })
        };
        let plan = serde_json::to_string(PLAN)?;
        let (with_user, without_user) = (text(Some(USER))?, text(None)?);
        let (before_plan, rest) = with_user.split_once(&plan).unwrap_or_default();
        let (between, after_user) = rest.split_once(&USER.to_string()).unwrap_or_default();
        let (_, without_user) = without_user.split_once(&plan).unwrap_or_default();
        Ok(Self {
            before_plan: before_plan.to_owned(),
            between: between.to_owned(),
            after_user: after_user.to_owned(),
            without_user: without_user.to_owned(),
        })
    }

    /// The container as JSON.
    pub(crate) fn to_json(&self, plan: &str, user: Option<i64>) -> Result<String, serde_json::Error> {
        let plan = serde_json::to_string(plan)?;
        Ok(match user {
            Some(user) => format!("{}{plan}{}{user}{}", self.before_plan, self.between, self.after_user),
            None => format!("{}{plan}{}", self.before_plan, self.without_user),
        })
    }
}

/// `podkey-init` or `podkey-sidecar`, which differ in what the agent is told to do, and in when they end. Both pass the Pod
/// Security Standard *restricted* (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>).
fn container(
    agent: &AgentConfig,
    program: Program,
    plan: &str,
    user: Option<i64>,
    volumes: impl Iterator<Item = &'static str>,
) -> Container {
    let (name, argument, restart_policy) = match program {
        Program::Init => (INIT_CONTAINER, "init", None),
        Program::Sidecar => (SIDECAR, "sidecar", Some("Always")),
    };
    let mount = |name: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: match name {
            TOKEN_VOLUME => TOKEN_DIR,
            BIN_VOLUME => BIN_DIR,
            HANDOVER_VOLUME => HANDOVER_DIR,
            _ => VOLUME_DIR,
        }
        .to_owned(),
        read_only: (name == TOKEN_VOLUME).then_some(true),
        ..VolumeMount::default()
    };
    Container {
        name: name.to_owned(),
        image: Some(agent.image.clone()),
        image_pull_policy: agent.image_pull_policy.map(|policy| policy.as_str().to_owned()),
        command: Some(vec!["/podkey-agent".to_owned()]),
        args: Some(vec![argument.to_owned()]),
        env: Some(vec![env_var(PLAN_ENV, plan)]),
        restart_policy: restart_policy.map(str::to_owned),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: None,
                drop: Some(vec!["ALL".to_owned()]),
            }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            run_as_user: user,
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..SecurityContext::default()
        }),
        termination_message_path: Some("/dev/termination-log".to_owned()),
        termination_message_policy: Some("File".to_owned()),
        volume_mounts: Some(volumes.map(mount).collect()),
        ..Container::default()
    }
}

/// A Guaranteed pod needs requests that equal the limits, for CPU and memory both.
fn resources(resources: &AgentResources, asks: Asks) -> Option<ResourceRequirements> {
    if asks == Asks::Nothing {
        return None;
    }
    let quantities = |from: &BTreeMap<String, qos::Quantity>| -> BTreeMap<String, Quantity> {
        from.iter()
            .map(|(name, quantity)| (name.clone(), Quantity(quantity.to_string())))
            .collect()
    };
    let mut requests = quantities(&resources.requests);
    let mut limits = quantities(&resources.limits);
    if asks == Asks::Guaranteed {
        let defaults = AgentResources::default();
        for (name, default) in quantities(&defaults.limits) {
            let limit = limits
                .entry(name.clone())
                .or_insert_with(|| requests.get(&name).cloned().unwrap_or(default));
            requests.insert(name, limit.clone());
        }
    }
    let given = |quantities: BTreeMap<_, _>| Some(quantities).filter(|quantities| !quantities.is_empty());
    Some(ResourceRequirements {
        claims: None,
        limits: given(limits),
        requests: given(requests),
    })
}

/// Each of [`VOLUMES`], of which a pod gets those that it [`needs`]. The service-account token is asked for with so many seconds to
/// live; the API server may give it fewer.
pub(crate) fn volumes(audience: Option<&str>, token_seconds: i64) -> [Volume; 4] {
    // Twice what may be written, for two generations side by side, and some room for the file system's own needs.
    let size_mib = 2 * MAX_RENDERED_BYTES / (1024 * 1024) + 1;
    [
        Volume {
            name: SECRETS_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some("Memory".to_owned()),
                size_limit: Some(Quantity(format!("{size_mib}Mi"))),
            }),
            ..Volume::default()
        },
        Volume {
            name: TOKEN_VOLUME.to_owned(),
            projected: Some(ProjectedVolumeSource {
                default_mode: None,
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(ServiceAccountTokenProjection {
                        audience: audience.map(str::to_owned),
                        expiration_seconds: Some(token_seconds),
                        path: "token".to_owned(),
                    }),
                    ..VolumeProjection::default()
                }]),
            }),
            ..Volume::default()
        },
        Volume {
            name: BIN_VOLUME.to_owned(),
            // The agent has 4 MiB at the most, and beside it lies what the plan holds.
            empty_dir: Some(EmptyDirVolumeSource {
                medium: None,
                size_limit: Some(Quantity("8Mi".to_owned())),
            }),
            ..Volume::default()
        },
        Volume {
            name: HANDOVER_VOLUME.to_owned(),
            // A client token: never on a disk.
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some("Memory".to_owned()),
                size_limit: Some(Quantity("1Mi".to_owned())),
            }),
            ..Volume::default()
        },
    ]
}

/// Whether a volume of the pod's is the one we would add, whatever defaults the API server has filled in since.
pub(crate) fn is_ours(volume: &pod::Volume<'_>, audience: Option<&str>) -> bool {
    if [SECRETS_VOLUME, HANDOVER_VOLUME].contains(&&*volume.name) {
        return volume
            .empty_dir
            .as_ref()
            .is_some_and(|empty_dir| empty_dir.medium.as_deref() == Some("Memory"));
    }
    if volume.name == BIN_VOLUME {
        return volume.empty_dir.is_some();
    }
    let projected = volume
        .projected
        .and_then(|raw| serde_json::from_str::<Projected<'_>>(raw.get()).ok());
    projected.is_some_and(|Projected { sources: (source,) }| {
        let token = source.service_account_token;
        &*token.path == "token" && token.audience.as_deref().filter(|audience| !audience.is_empty()) == audience
    })
}

/// A projected volume of one token and nothing else. (Kubernetes' own type has some hundred bytes for each source, and an
/// author may write a million of them.)
#[derive(Deserialize)]
struct Projected<'a> {
    #[serde(borrow)]
    sources: (Source<'a>,),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source<'a> {
    #[serde(borrow)]
    service_account_token: Token<'a>,
}

#[derive(Deserialize)]
struct Token<'a> {
    #[serde(borrow)]
    path: pod::Text<'a>,
    #[serde(borrow, default)]
    audience: Option<pod::Text<'a>>,
}

/// A mount of one of our volumes in a container of the author's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) volume: &'static str,
    pub(crate) path: String,
    /// Never the root of `podkey-secrets`.
    pub(crate) sub_path: Option<String>,
    pub(crate) access: Access,
}

/// One mount for all relative files and the values of variables, one for each absolute file.
pub(crate) fn mounts<'a>(
    files: impl IntoIterator<Item = &'a Destination>,
    variables: bool,
    access: Access,
) -> Vec<Mount> {
    let mount = |path: &str, sub_path: String| Mount {
        volume: SECRETS_VOLUME,
        path: path.to_owned(),
        sub_path: Some(sub_path),
        access,
    };
    let directory = || mount(SECRETS_DIR, FILES_DIR.to_owned());
    let mut shared = variables.then(directory);
    let mut single = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        match file {
            Destination::Relative(_) | Destination::EachField(_) if shared.is_some() => {}
            Destination::Relative(_) | Destination::EachField(_) => shared = Some(directory()),
            Destination::Absolute(path) => single.push(mount(path, file.place(index))),
        }
    }
    shared.into_iter().chain(single).collect()
}

/// The mount of `podkey-bin` in a container that uses a [`Tool`].
pub(crate) fn bin_mount() -> Mount {
    Mount {
        volume: BIN_VOLUME,
        path: BIN_DIR.to_owned(),
        sub_path: None,
        access: Access::Read,
    }
}

pub(crate) fn volume_mount(mount: &Mount) -> VolumeMount {
    VolumeMount {
        name: mount.volume.to_owned(),
        mount_path: mount.path.clone(),
        sub_path: mount.sub_path.clone(),
        read_only: (mount.access == Access::Read).then_some(true),
        ..VolumeMount::default()
    }
}

/// Whether a mount of `podkey-secrets` could be one of ours, at whatever path: never the volume's root, and read-only where it must be.
pub(crate) fn is_reader_mount(mount: &pod::VolumeMount<'_>, access: Access) -> bool {
    let below = |directory: &str, path: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    (access == Access::Write || mount.read_only == Some(true))
        && mount
            .sub_path
            .as_deref()
            .is_some_and(|path| path == FILES_DIR || below(FILES_DIR, path) || below(SINGLE_DIR, path))
}

pub(crate) fn env_var(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}
