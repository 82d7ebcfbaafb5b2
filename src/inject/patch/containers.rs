//! podkey's own containers, as the patch has them: `podkey-init`, and `podkey-sidecar` if the files are refreshed. The structs write
//! Kubernetes' JSON without copies; the test below holds their fields against Kubernetes' own types.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::inject::check::Injection;
use crate::inject::config::{AgentConfig, AgentResources};
use crate::inject::parts::additions::AddedVariable;
use crate::inject::pod::quantity::Quantity;
use crate::inject::request::Freshness;
use crate::inject::survey::Survey;
use crate::inject::survey::qos::OwnResources;
use crate::inject::words::names::{BIN_VOLUME, ENV_VOLUME, HANDOVER_VOLUME, INIT_CONTAINER, SIDECAR, TOKEN_VOLUME};
use crate::plan::{
    BIN_DIR, Binary, ExitCode, HANDOVER_DIR, Interval, KUBELET_ENV_DIR, PLAN_ENV, TOKEN_DIR, VOLUME_DIR,
};

/// A container of podkey's. It passes the Pod Security Standard *restricted*
/// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnContainer<'s> {
    args: [&'static str; 1],
    command: [&'static str; 1],
    env: [AddedVariable<'s>; 1],
    image: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_pull_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness_probe: Option<FreshnessProbe>,
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<ResourceRequirements<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_policy_rules: Option<[RestartRule; 1]>,
    security_context: RestrictedContext,
    termination_message_path: &'static str,
    termination_message_policy: &'static str,
    volume_mounts: Vec<OwnMount>,
}

/// The sidecar's probe, if the operator wants one. A liveness probe, because a pod whose readiness depends on Vault would leave its
/// Services when Vault is down; with a threshold that is never reached, so that it restarts nothing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FreshnessProbe {
    exec: ProbeCommand,
    failure_threshold: i32,
    period_seconds: u64,
    timeout_seconds: u8,
}

#[derive(Debug, Serialize)]
struct ProbeCommand {
    command: [&'static str; 2],
}

impl FreshnessProbe {
    fn each(period: Interval) -> Self {
        Self {
            exec: ProbeCommand {
                command: [AGENT_PROGRAM, "fresh"],
            },
            failure_threshold: i32::MAX,
            period_seconds: period.duration().as_secs(),
            timeout_seconds: 10,
        }
    }
}

/// The agent in its image.
const AGENT_PROGRAM: &str = "/podkey-agent";

/// What the kubelet does when the container ends with one of these codes (`ContainerRestartRule`,
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-all-containers>).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RestartRule {
    action: &'static str,
    exit_codes: ExitCodes,
}

#[derive(Debug, Serialize)]
struct ExitCodes {
    operator: &'static str,
    values: [u8; 1],
}

impl RestartRule {
    /// The rule of the sidecar with `on-change: restart`.
    fn of_sidecar() -> Self {
        Self {
            action: "RestartAllContainers",
            exit_codes: ExitCodes {
                operator: "In",
                values: [ExitCode::Restart.number()],
            },
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct ResourceRequirements<'s> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: Quantities<'s>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    requests: Quantities<'s>,
}

/// Amounts by resource.
type Quantities<'s> = BTreeMap<Cow<'s, str>, Cow<'s, Quantity>>;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RestrictedContext {
    allow_privilege_escalation: bool,
    capabilities: DroppedAll,
    privileged: bool,
    read_only_root_filesystem: bool,
    run_as_non_root: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_as_user: Option<i64>,
    seccomp_profile: RuntimeDefault,
}

#[derive(Debug, Serialize)]
struct DroppedAll {
    drop: [&'static str; 1],
}

#[derive(Debug, Serialize)]
struct RuntimeDefault {
    #[serde(rename = "type")]
    profile: &'static str,
}

/// A mount of one of podkey's volumes, whole, in a container of podkey's.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnMount {
    mount_path: &'static str,
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_only: Option<bool>,
}

/// The containers that this pod gets, in their order.
pub(super) fn containers<'s>(
    survey: &Survey<'_>,
    agent: &'s AgentConfig,
    injection: &'s Injection<'_, '_>,
) -> Vec<OwnContainer<'s>> {
    let container = |name, argument, restart_policy| OwnContainer {
        args: [argument],
        command: [AGENT_PROGRAM],
        env: [AddedVariable {
            name: PLAN_ENV,
            value: Cow::Borrowed(&injection.plan),
        }],
        image: &agent.image,
        image_pull_policy: agent.image_pull_policy.map(|policy| policy.as_str()),
        liveness_probe: None,
        name,
        resources: resources(&agent.resources, survey.own_resources),
        restart_policy,
        restart_policy_rules: None,
        security_context: RestrictedContext {
            allow_privilege_escalation: false,
            capabilities: DroppedAll { drop: ["ALL"] },
            privileged: false,
            read_only_root_filesystem: true,
            run_as_non_root: true,
            run_as_user: survey.run_as_user,
            seccomp_profile: RuntimeDefault {
                profile: "RuntimeDefault",
            },
        },
        termination_message_path: "/dev/termination-log",
        termination_message_policy: "File",
        volume_mounts: {
            let volumes = injection.volumes.iter().copied();
            // Nothing is copied into an image.
            let own = volumes.filter(|volume| *volume != BIN_VOLUME || survey.binary == Binary::Copy);
            own.map(own_mount).collect()
        },
    };
    let init = container(INIT_CONTAINER, "init", None);
    let sidecar = || OwnContainer {
        liveness_probe: agent.freshness_probe.map(FreshnessProbe::each),
        restart_policy_rules: injection.restarts.then(|| [RestartRule::of_sidecar()]),
        ..container(SIDECAR, "sidecar", Some("Always"))
    };
    match survey.freshness {
        Freshness::WrittenOnce => vec![init],
        Freshness::Refreshed => vec![init, sidecar()],
    }
}

fn own_mount(volume: &'static str) -> OwnMount {
    OwnMount {
        mount_path: match volume {
            TOKEN_VOLUME => TOKEN_DIR,
            BIN_VOLUME => BIN_DIR,
            HANDOVER_VOLUME => HANDOVER_DIR,
            ENV_VOLUME => KUBELET_ENV_DIR,
            _ => VOLUME_DIR,
        },
        name: volume,
        read_only: (volume == TOKEN_VOLUME).then_some(true),
    }
}

/// The configured resources, as the pod's quality of service needs them.
fn resources(configured: &AgentResources, own: OwnResources) -> Option<ResourceRequirements<'_>> {
    let mut requests = quantities(&configured.requests);
    let mut limits = quantities(&configured.limits);
    match own {
        OwnResources::Unset => return None,
        OwnResources::Configured => {}
        // A Guaranteed pod needs requests that equal the limits, for CPU and for memory.
        OwnResources::Guaranteed => {
            for (name, default) in AgentResources::default().limits {
                let name = Cow::Owned(name);
                let request = requests.get(&name).cloned();
                let limit = limits.entry(name.clone());
                let limit = limit.or_insert_with(|| request.unwrap_or(Cow::Owned(default)));
                requests.insert(name, limit.clone());
            }
        }
    }
    Some(ResourceRequirements { limits, requests })
}

fn quantities(configured: &BTreeMap<String, Quantity>) -> Quantities<'_> {
    let borrowed = configured.iter();
    borrowed
        .map(|(name, quantity)| (name.as_str().into(), Cow::Borrowed(quantity)))
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod as KubernetesPod;
    use serde_json::{Value, json};

    use crate::inject::{Config, Decision, Pod, decide};

    /// Kubernetes' own type drops a field that it does not know, and refuses a value of another shape.
    #[test]
    fn the_parts_that_podkey_adds_are_fields_of_kubernetes_own_types() {
        let config = "
agent: {image: podkey, imagePullPolicy: Always, freshnessProbe: 1m}
connections: {default: {address: 'https://vault.example.com', auth: {role: web}, job: {role: job}}}
";
        let config = Config::parse(config, |_| Err(String::new())).unwrap();
        let mut pod = json!({
            "metadata": {
                "labels": {"actions-ephemeral-runner": "True"},
                "annotations": {
                    "podkey.dev/files": "- {secret: a/b, key: k, file: c, env: C}",
                    "podkey.dev/refresh": "30s",
                },
            },
            "spec": {"containers": [{"name": "runner", "command": ["/run.sh"]}]},
        });
        let text = pod.to_string();
        let Decision::Inject(patch, _) = decide(&Pod::parse(&text).unwrap(), "ns", &config) else {
            panic!("the pod is not injected");
        };
        let patch: json_patch::Patch = serde_json::from_slice(patch.as_json()).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
        assert_eq!(pod["spec"]["initContainers"].as_array().map(Vec::len), Some(2));
        assert_eq!(pod["spec"]["volumes"].as_array().map(Vec::len), Some(4));
        let read: KubernetesPod = serde_json::from_value(pod.clone()).unwrap();
        let Value::Object(read) = serde_json::to_value(read).unwrap() else {
            panic!("a pod is an object");
        };
        assert_eq!(read["spec"], pod["spec"]);
    }
}
