//! What podkey's own containers look like, and what no cluster would start.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::{ConfigError, wrong};
use crate::inject::pod::quantity::Quantity;
use crate::inject::problem::did_you_mean;

/// What podkey's own containers look like.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// The image that holds `/podkey-agent`.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`; left out: Kubernetes' own default for the image's tag.
    #[serde(default)]
    pub image_pull_policy: Option<PullPolicy>,
    /// The user of podkey's containers where the reader's is 0, unknown, or not one; none for OpenShift, which picks it.
    #[serde(default = "default_run_as_user")]
    pub run_as_user: Option<i64>,
    /// CPU and memory.
    #[serde(default)]
    pub resources: AgentResources,
}

fn default_run_as_user() -> Option<i64> {
    Some(65532)
}

/// <https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "Kubernetes' own three words")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Requests and limits. Namespaces with a ResourceQuota refuse containers without them, so there is always a default.
/// What is given replaces it whole, so that there can be a limit for memory and none for CPU.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "ResourcesFile")]
pub struct AgentResources {
    /// By resource. One that is left out is Kubernetes' affair, which takes the limit.
    pub requests: BTreeMap<String, Quantity>,
    /// By resource.
    pub limits: BTreeMap<String, Quantity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourcesFile {
    #[serde(default)]
    requests: Option<BTreeMap<String, Quantity>>,
    #[serde(default)]
    limits: Option<BTreeMap<String, Quantity>>,
}

impl From<ResourcesFile> for AgentResources {
    fn from(file: ResourcesFile) -> Self {
        let limits = file.limits.unwrap_or_else(default_limits);
        let requests = file.requests.unwrap_or_else(|| {
            // A limit below our default for the request is request enough.
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

/// What a container without devices may have. Kubernetes knows others, and refuses a pod with one it does not know.
const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

impl AgentResources {
    /// Finds what would make the API server refuse each injected pod, or the kubelet kill it at once.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (field, quantities) in [("requests", &self.requests), ("limits", &self.limits)] {
            for (name, quantity) in quantities {
                let key = format!("agent.resources.{field}.{name}");
                if !RESOURCES.contains(&name.as_str()) {
                    let hint = did_you_mean(name, RESOURCES);
                    return wrong(key, format!("is none of {}{hint}", RESOURCES.join(", ")));
                }
                let amount = quantity.amount();
                if field == "limits" && amount == 0.0 {
                    return wrong(key, "is 0: leave it out where there is to be no limit");
                }
                if name != "cpu" && amount > 0.0 && amount < 1024.0 {
                    return wrong(key, format!("\"{quantity}\" is not even 1Ki: write 64Mi, say"));
                }
            }
        }
        for (name, request) in &self.requests {
            let limit = self.limits.get(name);
            if let (true, Some(limit)) = (exceeds(request, limit), limit) {
                let default = if self.limits == default_limits() {
                    ", which is the default"
                } else {
                    ""
                };
                return wrong(
                    format!("agent.resources.requests.{name}"),
                    format!(
                        "{request} is more than the limit of {limit}{default}: set agent.resources.limits.{name} to {request} or more"
                    ),
                );
            }
        }
        Ok(())
    }
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
