//! What all checks of the doctor look at.

use serde_json::Value;

use super::api::ApiError;
use super::mend::Manifest;
use crate::cli::kubeconfig::KubeClient;
use crate::plan::Plan;

/// The cluster and the pod that the doctor examines.
pub(super) struct Situation {
    /// None: there is no kubeconfig that can be used.
    pub(super) cluster: Option<KubeClient>,
    /// The namespace of the pod.
    pub(super) namespace: String,
    /// None: the user has named no pod and no manifest, or there is no such pod.
    pub(super) pod: Option<ExaminedPod>,
    /// The role that the user wants examined in place of the pod's.
    pub(super) role: Option<String>,
    /// Whether the doctor may log in with a token of the pod's account.
    pub(super) login: bool,
}

/// The pod that the doctor examines.
pub(super) struct ExaminedPod {
    /// For messages, such as `pod web` or `Deployment/web`.
    pub(super) name: String,
    /// As the author or the controller wrote the pod.
    pub(super) written: Value,
    /// As the API server has admitted the pod, podkey's containers included. As written, if the API server refuses the pod.
    pub(super) pod: Value,
    /// The service account of the pod.
    pub(super) account: String,
    /// Whether the manifest makes the service account too.
    pub(super) makes_account: bool,
    /// What podkey is to do for the pod. None: the webhook did not inject the pod.
    pub(super) plan: Option<Plan>,
    /// What the API server said to the dry run.
    pub(super) admission: Admission,
    /// What the API server said to a pod like this one that podkey must refuse. None: the dry run itself tells whether the API server
    /// calls podkey. It does not tell so for a pod that has podkey's parts already: its copy has them too.
    pub(super) probe: Option<Admission>,
    /// Whether the pod exists. Otherwise it is the pod of a manifest.
    pub(super) exists: bool,
    /// The file to mend. None: the pod exists, or kubectl cannot patch the file.
    pub(super) manifest: Option<Manifest>,
    /// The object of the manifest that the pod is made from. None: the pod exists.
    pub(super) object: Option<Value>,
}

/// What the API server said to the dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admission {
    /// There is no cluster.
    NotAsked,
    /// Admitted, with the warnings of all admission plugins and webhooks.
    Admitted(Vec<String>),
    Refused(ApiError),
}

impl ExaminedPod {
    /// Whether the API server has admitted the pod with parts of podkey.
    pub(super) fn is_injected(&self) -> bool {
        self.plan.is_some()
            || items(&self.pod, "/spec/initContainers").any(|container| container["name"] == "podkey-init")
    }
}

/// The items of a list in an object. An object without such a list has no items.
pub(super) fn items<'v>(object: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// A text in an object; empty, if there is none.
pub(super) fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
