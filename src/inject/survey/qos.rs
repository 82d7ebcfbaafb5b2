//! The pod's quality of service (QoS), which podkey's containers must not change: a Guaranteed pod stays Guaranteed.
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>

use serde_json::value::RawValue;

use crate::inject::pod::{Pod, quantity};

/// The resources of podkey's own containers in this pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnResources {
    /// As the operator configured them.
    Configured,
    /// As the operator configured them, but with requests that equal the limits.
    Guaranteed,
    /// None. The pod has resources for all its containers together, and the API server refuses a pod whose containers have
    /// more. <https://kubernetes.io/docs/tasks/configure-pod-container/assign-pod-level-resources/>
    Unset,
}

impl OwnResources {
    pub(super) fn of(pod: &Pod<'_>) -> Self {
        let resources = pod.spec.resources.iter();
        let mut lists = resources.flat_map(|resources| resources.limits.iter().chain(&resources.requests));
        match lists.any(|list| list.cpu.is_some() || list.memory.is_some()) {
            true => Self::Unset,
            false if is_guaranteed(pod) => Self::Guaranteed,
            false => Self::Configured,
        }
    }
}

/// Whether the pod is Guaranteed: every container, init containers too, has limits for CPU and memory, and requests that equal
/// the limits. (A request that is left out counts as the limit.)
fn is_guaranteed(pod: &Pod<'_>) -> bool {
    pod.all_containers().all(|container| {
        let Some(resources) = &container.resources else {
            return false;
        };
        let Some(limits) = &resources.limits else { return false };
        let requests = resources.requests.as_ref();
        let equal = |limit: Option<&RawValue>, request: Option<&RawValue>| match (limit, request) {
            (Some(limit), Some(request)) => quantity::same(limit, request),
            (Some(_), None) => true,
            (None, _) => false,
        };
        equal(limits.cpu, requests.and_then(|requests| requests.cpu))
            && equal(limits.memory, requests.and_then(|requests| requests.memory))
    })
}
