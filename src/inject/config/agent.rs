//! `agent`: podkey's own containers, and which settings would keep a pod from starting.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::error::{ConfigError, wrong};
use super::section::section;
use crate::inject::kubernetes::KubernetesVersion;
use crate::inject::pod::quantity::Quantity;
use crate::inject::problem::did_you_mean;
use crate::plan::words::none_of;
use crate::plan::{Binary, Interval};

section! {
    /// podkey's own containers.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct AgentConfig, AGENT: AgentKeys at "agent." {
        /// The image that holds `/podkey-agent`.
        pub(crate) image: String = "image": AllPods, default "required", example "'registry.example.com/podkey:0.2.0'",
            value "the name of an image";
        /// When the kubelet pulls the image: `Always`, `IfNotPresent` or `Never`.
        #[serde(default)]
        pub(crate) image_pull_policy: Option<PullPolicy> = "imagePullPolicy": AllPods,
            default "Kubernetes' own default for the image's tag", example "IfNotPresent",
            value "`Always`, `IfNotPresent` or `Never`";
        /// How the agent's program comes to the containers that use it, for job hooks and in front of commands: `copy`, or `imageVolume`
        /// (Kubernetes 1.36 or later). With `imageVolume`, a pod whose secrets are all read by the job gets no init container.
        #[serde(default)]
        pub(crate) binary: Binary = "binary": AllPods, default "`copy`", example "imageVolume",
            details "`imageVolume` needs a container runtime that does not mount image volumes `noexec`.";
        /// The user of podkey's containers where the reader's user is 0, unknown, or not the same for all readers; null where
        /// the cluster picks one, as OpenShift does.
        #[serde(default = "default_run_as_user")]
        pub(crate) run_as_user: Option<i64> = "runAsUser": AllPods, default "65532", example "65532",
            value "a user id other than 0, or `null`";
        /// How often the kubelet asks each sidecar whether its files are fresh. The kubelet counts the answers in its metrics and
        /// reports stale files as events of the pod. A stale file never restarts a container, and the pod stays ready.
        #[serde(default)]
        pub(crate) freshness_probe: Option<Interval> = "freshnessProbe": AllPods, default "no probe", example "1m",
            value "a duration from `30s` to `5m`",
            details "Needs an agent of version 0.2.0 or later in `agent.image`: an older agent has no command `fresh`, so each probe fails. Each probe that fails is an event of the pod (reason `Unhealthy`) with the names of the files, the paths of their secrets and the reasons; whoever may read the events of the namespace sees them. The kubelet reports 25 events of one pod, then one in 5 minutes. The probe runs within the memory limit of podkey-sidecar, beside the sidecar, so `agent.resources.limits.memory` must be `32Mi` or more.";
        /// CPU and memory of podkey's containers.
        #[serde(default)]
        pub(crate) resources: AgentResources = "resources": AllPods, default "10m to 500m of CPU, 16Mi to 64Mi of memory",
            example "{limits: {memory: 64Mi}}",
            value "a set of keys",
            details "A LimitRange whose minimum is above these values refuses the pods. podkey-init counts only where it needs more than the pod's other containers together; podkey-sidecar counts on top of them. In a pod with resources of its own (`spec.resources`) podkey's containers name none.";
    }
}

fn default_run_as_user() -> Option<i64> {
    Some(65532)
}

/// <https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// As Kubernetes writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Requests and limits, by resource. Namespaces with a ResourceQuota refuse containers without them, so there is always a
/// default. A given set replaces the whole default set, so that there can be a limit for memory and none for CPU.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "ResourcesFile")]
pub(crate) struct AgentResources {
    pub(crate) requests: BTreeMap<String, Quantity>,
    pub(crate) limits: BTreeMap<String, Quantity>,
}

section! {
    struct ResourcesFile, RESOURCES: ResourceKeys at "agent.resources." {
        /// What the scheduler sets aside, by resource. Where a resource is left out, Kubernetes takes the limit.
        #[serde(default)]
        requests: Option<BTreeMap<String, Quantity>> = "requests": AllPods,
            default "`{cpu: 10m, memory: 16Mi}`, but never more than the limits", example "{memory: 32Mi}",
            value "amounts of `cpu`, `memory` and `ephemeral-storage`";
        /// The most that a container may use, by resource.
        #[serde(default)]
        limits: Option<BTreeMap<String, Quantity>> = "limits": AllPods,
            default "`{cpu: 500m, memory: 64Mi}`", example "{memory: 64Mi}",
            value "amounts of `cpu`, `memory` and `ephemeral-storage`";
    }
}

impl From<ResourcesFile> for AgentResources {
    fn from(file: ResourcesFile) -> Self {
        let limits = file.limits.unwrap_or_else(default_limits);
        let requests = file.requests.unwrap_or_else(|| {
            // Where the limit is below the default request, Kubernetes takes the limit as the request.
            let mut requests = default_requests();
            requests.retain(|name, request| !exceeds(request, limits.get(name)));
            requests
        });
        Self { requests, limits }
    }
}

fn exceeds(request: &Quantity, limit: Option<&Quantity>) -> bool {
    limit.is_some_and(|limit| request.amount() > limit.amount())
}

/// The resources of a container without devices. The API server refuses a pod with a resource that it does not know.
const RESOURCE_NAMES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

impl AgentConfig {
    /// Refuses what would keep each injected pod from starting. `kubernetes` is the version of the cluster, if the config names it.
    pub(super) fn check(&self, kubernetes: Option<KubernetesVersion>) -> Result<(), ConfigError> {
        let needed = KubernetesVersion::IMAGE_VOLUMES;
        if let Some(version) = kubernetes.filter(|version| self.binary == Binary::ImageVolume && *version < needed) {
            return AGENT.binary.wrong(format!(
                "is imageVolume, which needs Kubernetes {needed} or later, and kubernetesVersion is {version}: write copy"
            ));
        }
        if self.image.trim().is_empty() {
            return AGENT.image.wrong("is empty");
        }
        let period = self.freshness_probe.map(Interval::duration);
        if period.is_some_and(|period| period < MIN_PROBE_PERIOD) {
            return AGENT
                .freshness_probe
                .wrong("is shorter than 30s: failed probes would use up the pod's events");
        }
        if period.is_some_and(|period| period > MAX_PROBE_PERIOD) {
            return AGENT
                .freshness_probe
                .wrong("is longer than 5m: the alert PodkeyStaleFiles would not see the probes");
        }
        if self.run_as_user.is_some_and(|uid| !(1..=MAX_UID).contains(&uid)) {
            return AGENT
                .run_as_user
                .wrong(format!("is not a user ID from 1 to {MAX_UID} (null sets none)"));
        }
        self.resources.check()?;
        match self.freshness_probe {
            Some(_) => self.resources.check_memory_for_probe(),
            None => Ok(()),
        }
    }
}

/// A probe that fails is an event. The kubelet reports 25 events of a pod, then one in 5 minutes
/// (<https://github.com/kubernetes/client-go/blob/master/tools/record/events_cache.go>): shorter periods leave no room for others.
const MIN_PROBE_PERIOD: Duration = Duration::from_secs(30);
/// The alert looks at the probes of ten minutes.
const MAX_PROBE_PERIOD: Duration = Duration::from_secs(5 * 60);

/// The highest user ID that Kubernetes takes.
const MAX_UID: i64 = i32::MAX as i64;

impl AgentResources {
    /// Refuses what the API server would refuse in each injected pod, and what the kubelet would kill at once.
    fn check(&self) -> Result<(), ConfigError> {
        check_quantities(RESOURCES.requests.key, &self.requests)?;
        check_quantities(RESOURCES.limits.key, &self.limits)?;
        if let Some((name, _)) = self.limits.iter().find(|(_, limit)| limit.amount() == 0.0) {
            let key = format!("{}.{name}", RESOURCES.limits.key);
            return wrong(key, "is 0: leave it out where there is to be no limit");
        }
        self.check_requests()
    }

    /// The probe starts a second process within the memory limit of the sidecar, which the kernel would kill.
    fn check_memory_for_probe(&self) -> Result<(), ConfigError> {
        const LEAST_BYTES: f64 = 32.0 * 1024.0 * 1024.0;
        let small = self.limits.get("memory").filter(|limit| limit.amount() < LEAST_BYTES);
        let Some(limit) = small else { return Ok(()) };
        let (probe, key) = (AGENT.freshness_probe.key, format!("{}.memory", RESOURCES.limits.key));
        let why = format!(
            "{limit} is too little for {probe}, which starts a second process in podkey-sidecar: write 32Mi or more, or leave \
             {probe} out"
        );
        wrong(key, why)
    }

    /// A request must not be more than the limit.
    fn check_requests(&self) -> Result<(), ConfigError> {
        for (name, request) in &self.requests {
            let Some(limit) = self.limits.get(name).filter(|limit| exceeds(request, Some(limit))) else {
                continue;
            };
            let default = match self.limits == default_limits() {
                true => ", which is the default",
                false => "",
            };
            let (key, limits) = (format!("{}.{name}", RESOURCES.requests.key), RESOURCES.limits.key);
            let why = format!(
                "{request} is more than the limit of {limit}{default}: set {limits}.{name} to {request} or more"
            );
            return wrong(key, why);
        }
        Ok(())
    }
}

fn check_quantities(section: &str, quantities: &BTreeMap<String, Quantity>) -> Result<(), ConfigError> {
    for (name, quantity) in quantities {
        let key = format!("{section}.{name}");
        if !RESOURCE_NAMES.contains(&name.as_str()) {
            let hint = did_you_mean(name, RESOURCE_NAMES);
            return wrong(key, format!("{}{hint}", none_of(&RESOURCE_NAMES)));
        }
        let amount = quantity.amount();
        if name != "cpu" && amount > 0.0 && amount < 1024.0 {
            return wrong(key, format!("\"{quantity}\" is less than 1Ki: write 64Mi, for example"));
        }
    }
    Ok(())
}

impl Default for AgentResources {
    fn default() -> Self {
        Self {
            requests: default_requests(),
            limits: default_limits(),
        }
    }
}

fn default_requests() -> BTreeMap<String, Quantity> {
    quantities("10m", "16Mi")
}

fn default_limits() -> BTreeMap<String, Quantity> {
    quantities("500m", "64Mi")
}

fn quantities(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    [("cpu", cpu), ("memory", memory)]
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), text.parse().ok()?)))
        .collect()
}
