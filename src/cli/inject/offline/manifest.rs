//! Manifests as `kubectl apply` reads them: documents, lists, and the place of the pod in each kind.

use serde_json::{Map, Value, json};

use super::OfflineError;
use crate::inject::explain;

/// Kinds with a pod template: group, kind and the place of the template.
pub(super) const TEMPLATES: [(&str, &str, &str); 10] = [
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

/// The group (empty: the core one) and the kind of an object.
pub(super) fn group_and_kind(document: &Value) -> (&str, &str) {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
    (group, text("/kind"))
}

/// The place of the pod template in objects of this kind.
pub(super) fn template_of(group: &str, kind: &str) -> Option<&'static str> {
    let mut known = TEMPLATES.iter();
    let (_, _, place) = known.find(|(known_group, known, _)| *known_group == group && *known == kind)?;
    Some(place)
}

/// Reads a manifest as `kubectl apply` does, which is YAML 1.1: `0644` is 420 and `yes` is true.
///
/// Two differences remain: a key such as `on:` stays as written (kubectl changes it to `"true"`), and a duplicate key in a map is
/// an error here (kubectl sends the manifest to the API server, which warns or refuses).
pub(crate) fn read(manifest: &str) -> Result<Vec<Value>, OfflineError> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let mut documents: Vec<Value> = serde_saphyr::from_multiple_with_options(manifest, options)
        .map_err(|error| OfflineError::Yaml(explain(&error, manifest)))?;
    documents.retain(|document| !document.is_null());
    documents.iter_mut().for_each(whole_numbers);
    Ok(documents.into_iter().flat_map(unfold).collect())
}

/// The items of a `List` or of a list of one kind, such as `PodList`, whose items may leave out `apiVersion` and `kind`; or the
/// document itself.
fn unfold(mut document: Value) -> Vec<Value> {
    let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (Some(kind), Some(items)) = (
        kind.strip_suffix("List"),
        document.get_mut("items").and_then(Value::as_array_mut),
    ) else {
        return vec![document];
    };
    let items = std::mem::take(items);
    let whole = items.into_iter().map(|mut item| {
        if let (false, Some(fields)) = (kind.is_empty() || item["kind"].is_string(), item.as_object_mut()) {
            fields.insert("apiVersion".to_owned(), Value::from(api_version.as_str()));
            fields.insert("kind".to_owned(), Value::from(kind));
        }
        item
    });
    whole.flat_map(unfold).collect()
}

/// Kind and name, such as `Deployment/web`, without control characters for a terminal.
pub(crate) fn name_of(document: &Value) -> Result<String, OfflineError> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    let (Some(_), Some(kind)) = (text("/apiVersion"), text("/kind")) else {
        return Err(OfflineError::Kind(
            "the manifest has a document without apiVersion and kind: it is not a Kubernetes object. For a chart, give its \
             rendered manifests: helm template … | podkey inject --config FILE -f -"
                .to_owned(),
        ));
    };
    let name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
    let full = name.map_or_else(|| kind.to_owned(), |name| format!("{kind}/{name}"));
    Ok(full.escape_debug().to_string())
}

/// kubectl turns YAML into JSON through Go's float64, which writes `1e3` as 1000, and `08`, which is not octal, as 8. The API server
/// refuses `8.0` where it wants an integer.
fn whole_numbers(value: &mut Value) {
    /// Up to this number an f64 represents every whole number exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT);
            if let Some(whole) = whole {
                #[allow(clippy::cast_possible_truncation, reason = "whole, and within 2^53")]
                let whole = whole as i64;
                *value = Value::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The pod, or the pod that a controller would make from the manifest's template. None: the kind has neither.
pub(crate) fn pod_of(document: Value) -> Result<Option<Value>, OfflineError> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, kind) = group_and_kind(&document);
    if group.is_empty() && kind == "Pod" {
        return Ok(Some(document));
    }
    let Some(place) = template_of(group, kind) else {
        return Ok(None);
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
        // ARC's controller puts this label on each runner pod, and podkey recognises runner pods by this label.
        if let Some(labels) = metadata
            .entry("labels")
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
        {
            labels.insert("actions-ephemeral-runner".to_owned(), Value::from("True"));
        }
    }
    Ok(Some(
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }),
    ))
}
