//! `podkey inject`: the webhook's decision offline, for whoever writes annotations and wants to see what comes of them.

use json_patch::Patch;
use serde_json::{Map, Value, json};

use crate::inject::{Config, Decision, Pod, Problems, decide};

/// What a manifest becomes.
#[derive(Debug)]
pub struct Offline {
    /// The pod, injected where it asked for it.
    pub pod: Value,
    /// The operations that made it so.
    pub patch: Value,
    /// What the webhook would tell the pod's author.
    pub notes: Vec<String>,
}

/// Why there is no pod to show.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The text is no YAML.
    #[error("the manifest is no YAML: {0}")]
    Yaml(String),
    /// The manifest has no pod in it.
    #[error("{0}")]
    Kind(String),
    /// The webhook would refuse the pod.
    #[error("{0}")]
    Denied(Problems),
    /// The pod is none.
    #[error("{0}")]
    Pod(String),
}

/// Kinds whose pod template is read, with the place of the template.
const TEMPLATES: [(&str, &str, &str); 10] = [
    ("apps", "Deployment", "/spec/template"),
    ("apps", "ReplicaSet", "/spec/template"),
    ("apps", "StatefulSet", "/spec/template"),
    ("apps", "DaemonSet", "/spec/template"),
    ("batch", "Job", "/spec/template"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template"),
    (ARC, "AutoscalingRunnerSet", "/spec/template"),
    (ARC, "EphemeralRunnerSet", "/spec/ephemeralRunnerSpec"),
    (ARC, "EphemeralRunner", "/spec"),
    ("", "PodTemplate", "/template"),
];
const ARC: &str = "actions.github.com";

/// Decides for every document of a manifest, in order.
pub fn inject(manifest: &str, namespace: Option<&str>, config: &Config) -> Result<Vec<Offline>, OfflineError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(manifest).map_err(|error| OfflineError::Yaml(error.to_string()))?;
    let documents: Vec<_> = documents.into_iter().filter(|document| !document.is_null()).collect();
    if documents.is_empty() {
        return Err(OfflineError::Kind("the manifest is empty".to_owned()));
    }
    documents
        .into_iter()
        .map(|document| inject_one(document, namespace, config))
        .collect()
}

fn inject_one(document: Value, namespace: Option<&str>, config: &Config) -> Result<Offline, OfflineError> {
    let mut pod = pod_of(document)?;
    let text = pod.to_string();
    let view = Pod::parse(&text).map_err(|error| OfflineError::Pod(error.to_string()))?;
    let own_namespace = pod
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let namespace = namespace
        .map(str::to_owned)
        .or(own_namespace)
        .unwrap_or_else(|| "default".to_owned());
    match decide(&view, &namespace, config) {
        Decision::Ignore(mut notes) => {
            notes.push("podkey has nothing to do: the pod asks for nothing".to_owned());
            Ok(Offline {
                pod,
                patch: json!([]),
                notes,
            })
        }
        Decision::Deny(problems) => Err(OfflineError::Denied(problems)),
        Decision::Inject(patch, notes) => {
            let broken =
                |error: &dyn std::fmt::Display| OfflineError::Pod(format!("the patch does not apply: {error}"));
            let patch: Value = serde_json::from_slice(patch.as_json()).map_err(|error| broken(&error))?;
            let operations: Patch = serde_json::from_value(patch.clone()).map_err(|error| broken(&error))?;
            json_patch::patch(&mut pod, &operations).map_err(|error| broken(&error))?;
            Ok(Offline { pod, patch, notes })
        }
    }
}

/// The pod itself, or the one that a controller would make from the manifest's template.
fn pod_of(document: Value) -> Result<Value, OfflineError> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if group.is_empty() && kind == "Pod" {
        return Ok(document);
    }
    let Some((_, _, place)) = TEMPLATES
        .iter()
        .find(|(known_group, known, _)| *known_group == group && *known == kind)
    else {
        let known: Vec<_> = TEMPLATES.iter().map(|(_, kind, _)| *kind).collect();
        return Err(OfflineError::Kind(format!(
            "cannot find a pod in kind {kind:?} of {api_version:?}: give a Pod, {}",
            known.join(", ")
        )));
    };
    let Some(template) = document.pointer(place).and_then(Value::as_object) else {
        return Err(OfflineError::Kind(format!("the {kind} has no pod template at {place}")));
    };
    let Some(spec) = template.get("spec") else {
        return Err(OfflineError::Kind(format!(
            "the {kind} has no pod spec at {place}/spec"
        )));
    };
    let mut metadata = template
        .get("metadata")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for (key, pointer) in [("generateName", "/metadata/name"), ("namespace", "/metadata/namespace")] {
        let value = text(pointer);
        if !value.is_empty() && !metadata.contains_key(key) {
            metadata.insert(
                key.to_owned(),
                Value::from(if key == "generateName" {
                    format!("{value}-")
                } else {
                    value.to_owned()
                }),
            );
        }
    }
    if group == ARC {
        // ARC's controller labels each runner pod, and podkey knows it by that.
        if let Some(labels) = metadata
            .entry("labels")
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
        {
            labels.insert("actions-ephemeral-runner".to_owned(), Value::from("True"));
        }
    }
    Ok(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }))
}
