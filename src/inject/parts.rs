//! The parts that podkey adds to a pod: the init container and its two volumes, built with Kubernetes' own types.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
    SecurityContext, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::config::{AgentConfig, AgentResources};
use super::pod;
use super::readers::Mount;
use crate::plan::{FILES_DIR, MAX_RENDERED_BYTES, PLAN_ENV, SINGLE_DIR, TOKEN_DIR, VOLUME_DIR};

pub(super) const INIT_CONTAINER: &str = "podkey-init";
pub(super) const SECRETS_VOLUME: &str = "podkey-secrets";
pub(super) const TOKEN_VOLUME: &str = "podkey-token";
/// Names that a pod's author must leave to podkey.
pub(super) const RESERVED_CONTAINERS: [&str; 2] = [INIT_CONTAINER, "podkey-sidecar"];

/// The shortest life that the API server gives a projected token
/// (<https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#launch-a-pod-using-service-account-token-projection>).
const TOKEN_SECONDS: i64 = 600;

/// `podkey-init`, which passes the Pod Security Standard *restricted*
/// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>).
pub(super) fn init_container(agent: &AgentConfig, plan: String, user: Option<i64>, guaranteed: bool) -> Container {
    Container {
        name: INIT_CONTAINER.to_owned(),
        image: Some(agent.image.clone()),
        image_pull_policy: agent.image_pull_policy.map(|policy| policy.as_str().to_owned()),
        command: Some(vec!["/podkey-agent".to_owned()]),
        args: Some(vec!["init".to_owned()]),
        env: Some(vec![env_var(PLAN_ENV, plan)]),
        resources: Some(resources(&agent.resources, guaranteed)),
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
        volume_mounts: Some(vec![
            VolumeMount {
                name: SECRETS_VOLUME.to_owned(),
                mount_path: VOLUME_DIR.to_owned(),
                ..VolumeMount::default()
            },
            VolumeMount {
                name: TOKEN_VOLUME.to_owned(),
                mount_path: TOKEN_DIR.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            },
        ]),
        ..Container::default()
    }
}

/// A Guaranteed pod needs requests that equal the limits, for CPU and memory both.
fn resources(resources: &AgentResources, guaranteed: bool) -> ResourceRequirements {
    let quantities = |from: &BTreeMap<String, super::qos::Quantity>| -> BTreeMap<String, Quantity> {
        from.iter()
            .map(|(name, quantity)| (name.clone(), Quantity(quantity.to_string())))
            .collect()
    };
    let mut requests = quantities(&resources.requests);
    let mut limits = quantities(&resources.limits);
    if guaranteed {
        let defaults = AgentResources::default();
        for (name, default) in quantities(&defaults.limits) {
            let limit = limits
                .entry(name.clone())
                .or_insert_with(|| requests.get(&name).cloned().unwrap_or(default));
            requests.insert(name, limit.clone());
        }
    }
    let given = |quantities: BTreeMap<_, _>| Some(quantities).filter(|quantities| !quantities.is_empty());
    ResourceRequirements {
        claims: None,
        limits: given(limits),
        requests: given(requests),
    }
}

/// `podkey-secrets` and `podkey-token`.
pub(super) fn volumes(audience: Option<&str>) -> [Volume; 2] {
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
                        expiration_seconds: Some(TOKEN_SECONDS),
                        path: "token".to_owned(),
                    }),
                    ..VolumeProjection::default()
                }]),
            }),
            ..Volume::default()
        },
    ]
}

/// Whether a volume of the pod's is the one we would add, whatever defaults the API server has filled in since.
pub(super) fn is_ours(volume: &pod::Volume<'_>, audience: Option<&str>) -> bool {
    if volume.name == SECRETS_VOLUME {
        return volume
            .empty_dir
            .as_ref()
            .is_some_and(|empty_dir| empty_dir.medium.as_deref() == Some("Memory"));
    }
    let projected: Option<ProjectedVolumeSource> =
        volume.projected.and_then(|raw| serde_json::from_str(raw.get()).ok());
    match projected.and_then(|projected| projected.sources).as_deref() {
        Some(
            [
                VolumeProjection {
                    service_account_token: Some(token),
                    ..
                },
            ],
        ) => token.path == "token" && token.audience.as_deref().filter(|audience| !audience.is_empty()) == audience,
        _ => false,
    }
}

/// A reader's mount: read-only, and never the volume's root.
pub(super) fn volume_mount(mount: &Mount) -> VolumeMount {
    VolumeMount {
        name: SECRETS_VOLUME.to_owned(),
        mount_path: mount.path.clone(),
        sub_path: Some(mount.sub_path.clone()),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// Whether a mount of `podkey-secrets` could be one of ours: read-only, and never the volume's root.
pub(super) fn is_reader_mount(mount: &pod::VolumeMount<'_>) -> bool {
    let below = |directory: &str, path: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    mount.read_only == Some(true)
        && mount
            .sub_path
            .as_deref()
            .is_some_and(|path| path == FILES_DIR || below(FILES_DIR, path) || below(SINGLE_DIR, path))
}

pub(super) fn env_var(name: &str, value: String) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    }
}
